package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stopped is cancelled when standard input ends: the harness closes it, or dies and takes it along.
func stopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

// journal is a file of lines that are in the kernel's hands when `line` returns: what it holds was observed.
type journal struct {
	mutex sync.Mutex
	file  *os.File
}

func newJournal(j *job, name string) (*journal, error) {
	directory := j.text("dir", "")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(directory, name))
	return &journal{file: file}, err
}

func (l *journal) line(format string, values ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, err := fmt.Fprintf(l.file, format+"\n", values...); err != nil {
		fmt.Fprintln(os.Stderr, "the journal cannot be written:", err)
		os.Exit(3)
	}
}

// A broker is back within a fraction of a second, and both witnesses with it. By default a client asks for metadata, which a
// lost connection makes it need, no more often than every 5 s, and idles through the lives of several brokers.
var (
	retryBackoff   = kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond })
	metadataMinAge = kgo.MetadataMinAge(50 * time.Millisecond)
)

// loadValue is the value of a partition's seq-th record: its name, then a filling made from seq, so that the
// checker can rebuild every byte.
func loadValue(run string, partition int32, seq int64, bytes int) []byte {
	name := fmt.Sprintf("%s/%d/%d/", run, partition, seq)
	filling := strconv.FormatInt(seq, 10) + "-"
	value := name
	if missing := bytes - len(name); missing > 0 {
		value += strings.Repeat(filling, missing/len(filling)+1)[:missing]
	}
	return []byte(value)
}

// load produces unique values to every partition until standard input ends, living through broker deaths, then
// flushes. It writes sent.log (`partition seq`) before a record is handed to the client, acked.log
// (`partition offset seq milliseconds`) when the broker acknowledged it, and failed.log (`partition seq error`).
func load(j *job) (string, error) {
	if err := j.need("bootstrap", "topic", "partitions", "dir", "run"); err != nil {
		return "", err
	}
	partitions, err := j.number("partitions", 1)
	if err != nil {
		return "", err
	}
	bytes, err := j.number("value-bytes", 200)
	if err != nil {
		return "", err
	}
	rate, err := j.number("rate", 2000)
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
	client, err := kgo.NewClient(append(options,
		kgo.DefaultProduceTopic(j.text("topic", "")),
		kgo.StopProducerOnDataLossDetected(),
		kgo.MaxBufferedRecords(5000),
		retryBackoff, metadataMinAge,
		kgo.RetryTimeout(timeout),
		kgo.UnknownTopicRetries(-1),
		kgo.RecordRetries(1<<30),
		kgo.ProduceRequestTimeout(10*time.Second))...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	sent, err := newJournal(j, "sent.log")
	if err != nil {
		return "", err
	}
	acked, err := newJournal(j, "acked.log")
	if err != nil {
		return "", err
	}
	failed, err := newJournal(j, "failed.log")
	if err != nil {
		return "", err
	}
	start := time.Now()
	var count, acks, failures atomic.Int64
	stop := stopped()
	// Small bursts keep the rate without a timer for each record.
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	burst := max(rate/100, 1)
	for seq := int64(0); stop.Err() == nil; {
		for i := 0; i < burst && stop.Err() == nil; i += partitions {
			for p := range int32(partitions) {
				number := seq
				sent.line("%d\t%d", p, number)
				record := &kgo.Record{Partition: p, Value: loadValue(j.text("run", ""), p, number, bytes)}
				// Produce blocks while too much is in flight: a dead broker stops the load, not the process.
				client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
					if err != nil {
						failures.Add(1)
						failed.line("%d\t%d\t%s", r.Partition, number, strings.Join(strings.Fields(err.Error()), " "))
						return
					}
					acks.Add(1)
					acked.line("%d\t%d\t%d\t%d", r.Partition, r.Offset, number, time.Since(start).Milliseconds())
				})
				count.Add(1)
			}
			seq++
		}
		<-ticks.C
	}
	flush, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := client.Flush(flush); err != nil {
		return "", fmt.Errorf("%d of %d records still unacknowledged after %s: %w", count.Load()-acks.Load()-failures.Load(), count.Load(), timeout, err)
	}
	return fmt.Sprintf("sent=%d\tacked=%d\tfailed=%d", count.Load(), acks.Load(), failures.Load()), nil
}

// tail consumes as a member of a group until standard input ends and commits every 100 ms. Its journal tail.log
// holds `assigned topic partition`, `read topic partition first last` (one line for each run of offsets),
// `commit topic partition offset` (confirmed by the broker) and `trouble text`.
func tail(j *job) (string, error) {
	if err := j.need("bootstrap", "topics", "group", "dir"); err != nil {
		return "", err
	}
	log, err := newJournal(j, "tail.log")
	if err != nil {
		return "", err
	}
	client, err := kgo.NewClient(j.seeds(), kgo.ConsumerGroup(j.text("group", "")), kgo.ConsumeTopics(j.topics()...),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		retryBackoff, metadataMinAge,
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, gained map[string][]int32) {
			for topic, partitions := range gained {
				for _, p := range partitions {
					log.line("assigned\t%s\t%d", topic, p)
				}
			}
		}))
	if err != nil {
		return "", err
	}
	defer client.Close()
	stop, records, commits := stopped(), 0, 0
	for stop.Err() == nil {
		poll, cancel := context.WithTimeout(stop, 100*time.Millisecond)
		fetches := client.PollFetches(poll)
		cancel()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				log.line("read\t%s\t%d\t%d\t%d", p.Topic, p.Partition, p.Records[0].Offset, p.Records[n-1].Offset)
				records += n
			}
		})
		if offsets := client.UncommittedOffsets(); len(offsets) > 0 {
			limit, cancel := context.WithTimeout(stop, 5*time.Second)
			err := commit(limit, client, offsets, func(topic string, p int32, offset int64) {
				log.line("commit\t%s\t%d\t%d", topic, p, offset)
				commits++
			})
			cancel()
			if err != nil {
				log.line("trouble\t%s", strings.Join(strings.Fields(err.Error()), " "))
			}
		}
	}
	return fmt.Sprintf("records=%d\tcommits=%d", records, commits), nil
}
