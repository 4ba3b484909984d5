package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produce sends the lines of a file: line i goes to partition i mod N.
func produce(j *job) (string, error) {
	if err := j.need("bootstrap", "topic", "partitions", "file"); err != nil {
		return "", err
	}
	partitions, err := j.number("partitions", 1)
	if err != nil {
		return "", err
	}
	timeout, err := j.timeout()
	if err != nil {
		return "", err
	}
	options, err := j.producerOptions()
	if err != nil {
		return "", err
	}
	client, err := kgo.NewClient(append(options, kgo.DefaultProduceTopic(j.text("topic", "")), kgo.RecordDeliveryTimeout(timeout))...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	file, err := os.Open(j.text("file", ""))
	if err != nil {
		return "", err
	}
	defer file.Close()
	var acks *bufio.Writer
	if log := j.text("log-acks", ""); log != "" {
		out, err := os.Create(log)
		if err != nil {
			return "", err
		}
		defer out.Close()
		acks = bufio.NewWriter(out)
		defer acks.Flush()
	}
	var mutex sync.Mutex
	var failure error
	lines := bufio.NewReaderSize(file, 1<<16)
	index := 0
	for ; ; index++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", err
		}
		number := index
		record := &kgo.Record{Value: line[:len(line)-1], Partition: int32(number % partitions)}
		client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil && failure == nil {
				failure = err
			} else if acks != nil {
				fmt.Fprintf(acks, "%d\t%d\t%d\n", r.Partition, r.Offset, number)
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		return "", err
	}
	mutex.Lock()
	defer mutex.Unlock()
	return fmt.Sprintf("records=%d", index), failure
}
