package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type place struct {
	topic     string
	partition int32
}

// consume writes what it reads to one file a partition, until a count or the end as it was at the start.
func consume(j *job) (string, error) {
	if err := j.need("bootstrap", "topics", "partitions", "mode", "out", "until"); err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	group := j.text("mode", "") == "group"
	options := []kgo.Opt{j.seeds(), kgo.FetchMaxWait(100 * time.Millisecond)}
	if group {
		options = append(options, kgo.ConsumerGroup(j.text("group", "")), kgo.ConsumeTopics(j.topics()...),
			kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	} else {
		assigned := map[string]map[int32]kgo.Offset{}
		for _, topic := range j.topics() {
			assigned[topic] = map[int32]kgo.Offset{}
			for p := range partitions {
				assigned[topic][int32(p)] = kgo.NewOffset().AtStart()
			}
		}
		options = append(options, kgo.ConsumePartitions(assigned))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return "", err
	}
	defer client.Close()

	until, ends := -1, map[place]int64{}
	if text := j.text("until", ""); text == "end" {
		listed, err := kadm.NewClient(client).ListEndOffsets(ctx, j.topics()...)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return "", err
		}
		listed.Each(func(end kadm.ListedOffset) { ends[place{end.Topic, end.Partition}] = end.Offset })
	} else if until, err = strconv.Atoi(text); err != nil {
		return "", fmt.Errorf("--until: %w", err)
	}
	sink, err := newSink(j)
	if err != nil {
		return "", err
	}
	defer sink.close()
	after := map[place]kgo.EpochOffset{}
	finished := func() bool {
		if until >= 0 {
			return sink.records >= until
		}
		for where, end := range ends {
			if after[where].Offset < end {
				return false
			}
		}
		return true
	}
	for !finished() {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return "", fmt.Errorf("timed out after %d records, at %v", sink.records, after)
		}
		for _, failed := range fetches.Errors() {
			if !kerr.IsRetriable(failed.Err) {
				return "", fmt.Errorf("%s-%d: %w", failed.Topic, failed.Partition, failed.Err)
			}
		}
		for records := fetches.RecordIter(); !records.Done(); {
			record := records.Next()
			where := place{record.Topic, record.Partition}
			if until >= 0 && sink.records >= until || until < 0 && record.Offset >= ends[where] {
				continue
			}
			if err := sink.write(record); err != nil {
				return "", err
			}
			after[where] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
		}
	}
	if group {
		// What was polled but not written must not be committed: the next reader of the group continues there.
		commits := map[string]map[int32]kgo.EpochOffset{}
		for where, at := range after {
			if commits[where.topic] == nil {
				commits[where.topic] = map[int32]kgo.EpochOffset{}
			}
			commits[where.topic][where.partition] = at
		}
		failure := commit(ctx, client, commits, nil)
		if failure != nil {
			return "", failure
		}
	}
	return fmt.Sprintf("records=%d", sink.records), sink.close()
}

// sink holds one file a partition, one value a line, led by its offset when asked for.
type sink struct {
	directory string
	offsets   bool
	files     map[place]*bufio.Writer
	handles   []*os.File
	records   int
}

func newSink(j *job) (*sink, error) {
	directory := j.text("out", "")
	return &sink{directory, j.flag("with-offsets"), map[place]*bufio.Writer{}, nil, 0}, os.MkdirAll(directory, 0o755)
}

func (s *sink) write(record *kgo.Record) error {
	where := place{record.Topic, record.Partition}
	file := s.files[where]
	if file == nil {
		handle, err := os.Create(filepath.Join(s.directory, fmt.Sprintf("%s-%d", where.topic, where.partition)))
		if err != nil {
			return err
		}
		file = bufio.NewWriterSize(handle, 1<<16)
		s.files[where], s.handles = file, append(s.handles, handle)
	}
	if s.offsets {
		fmt.Fprintf(file, "%d\t", record.Offset)
	}
	file.Write(record.Value)
	s.records++
	return file.WriteByte('\n')
}

func (s *sink) close() error {
	var failure error
	for _, file := range s.files {
		if err := file.Flush(); err != nil {
			failure = err
		}
	}
	for _, handle := range s.handles {
		handle.Close()
	}
	s.files, s.handles = nil, nil
	return failure
}
