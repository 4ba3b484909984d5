package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"headwater/clients/oracle/go/story"
)

func (d *driver) consume() {
	for _, codec := range codecs {
		d.step("consume-"+codec.name, func(ctx context.Context) (story.Seen, error) {
			return d.read(ctx, "codec-"+codec.name, kgo.NewOffset().AtStart(), 24)
		})
	}
	d.step("consume-append-time", func(ctx context.Context) (story.Seen, error) {
		records, err := d.fetch(ctx, d.assigned("append-time", 0, kgo.NewOffset().AtStart()), 2)
		if err != nil {
			return nil, err
		}
		return story.Seen{"timestamp_type": records[0].Attrs.TimestampType(), "recent": time.Since(records[0].Timestamp) < time.Hour}, nil
	})
	d.step("consume-prepare", func(ctx context.Context) (story.Seen, error) {
		client := d.open(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer client.Close()
		var records []*kgo.Record
		for i := range 30 {
			records = append(records, &kgo.Record{Topic: d.Name("plain"), Partition: int32(i % 3), Value: []byte{byte('a' + i)}, Timestamp: time.UnixMilli(story.Epoch + int64(i)*1000)})
		}
		return produced(client.ProduceSync(ctx, records...), true), nil
	})
	d.step("consume-all-partitions", func(ctx context.Context) (story.Seen, error) {
		start := kgo.NewOffset().AtStart()
		records, err := d.fetch(ctx, []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{d.Name("plain"): {0: start, 1: start, 2: start}})}, 30)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(records, func(a, b *kgo.Record) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
		return shown(records), nil
	})
	for _, seek := range []struct {
		step   string
		offset kgo.Offset
		count  int
	}{
		{"start", kgo.NewOffset().AtStart(), 10},
		{"offset", kgo.NewOffset().At(4), 6},
		{"relative-to-start", kgo.NewOffset().AtStart().Relative(3), 7},
		{"relative-to-end", kgo.NewOffset().AtEnd().Relative(-2), 2},
		{"before-first", kgo.NewOffset().AfterMilli(story.Epoch - 1), 10},
		{"exact-time", kgo.NewOffset().AfterMilli(story.Epoch + 6000), 8},
		{"between-times", kgo.NewOffset().AfterMilli(story.Epoch + 6001), 7},
	} {
		d.step("seek-"+seek.step, func(ctx context.Context) (story.Seen, error) {
			return d.read(ctx, "plain", seek.offset, seek.count)
		})
	}
	d.step("out-of-range-none", func(ctx context.Context) (story.Seen, error) {
		client := d.open(append(d.assigned("plain", 0, kgo.NewOffset().At(1000)), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
		defer client.Close()
		for {
			fetches := client.PollFetches(ctx)
			if errors := fetches.Errors(); len(errors) > 0 {
				return story.Seen{"error": code(errors[0].Err), "partition": errors[0].Partition}, ctx.Err()
			}
		}
	})
	d.step("out-of-range-start", func(ctx context.Context) (story.Seen, error) {
		return d.read(ctx, "plain", kgo.NewOffset().At(1000), 10, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	})
	d.step("out-of-range-end", func(ctx context.Context) (story.Seen, error) {
		if _, err := d.create(ctx, 1, 1, keep, "latest"); err != nil {
			return nil, err
		}
		producer := d.open()
		defer producer.Close()
		done, stop := context.WithCancel(ctx)
		defer stop()
		// The reset happens at some moment, so something comes after it if enough comes.
		go func() {
			for done.Err() == nil {
				producer.ProduceSync(done, &kgo.Record{Topic: d.Name("latest"), Value: []byte("tick")})
				time.Sleep(50 * time.Millisecond)
			}
		}()
		records, err := d.fetch(ctx, append(d.assigned("latest", 0, kgo.NewOffset().At(100_000)), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())), 1)
		if err != nil {
			return nil, err
		}
		return story.Seen{"value": story.Show(records[0].Value)}, nil
	})
	d.step("consume-bytes-limited", func(ctx context.Context) (story.Seen, error) {
		return d.read(ctx, "codec-none", kgo.NewOffset().AtStart(), 24, kgo.FetchMaxBytes(1000), kgo.FetchMaxPartitionBytes(100))
	})
	d.step("consume-read-committed", func(ctx context.Context) (story.Seen, error) {
		return d.read(ctx, "plain", kgo.NewOffset().AtStart(), 10, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	})
}

func (d *driver) assigned(rest string, partition int32, offset kgo.Offset) []kgo.Opt {
	return []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{d.Name(rest): {partition: offset}})}
}

// read reads so many records of partition 0 from there on.
func (d *driver) read(ctx context.Context, rest string, from kgo.Offset, count int, options ...kgo.Opt) (story.Seen, error) {
	records, err := d.fetch(ctx, append(d.assigned(rest, 0, from), options...), count)
	seen := shown(records)
	return seen, err
}

func (d *driver) fetch(ctx context.Context, options []kgo.Opt, count int) ([]*kgo.Record, error) {
	client := d.open(options...)
	defer client.Close()
	return poll(ctx, client, count)
}

// poll reads until there are so many records, and no more of them.
func poll(ctx context.Context, client *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollRecords(ctx, count-len(records))
		records = append(records, fetches.Records()...)
		if err := fetches.Err(); err != nil {
			return records, err
		}
	}
	return records, nil
}

func shown(records []*kgo.Record) story.Seen {
	list := []story.Seen{}
	for _, record := range records {
		headers := []any{}
		for _, header := range record.Headers {
			headers = append(headers, []any{header.Key, story.Show(header.Value)})
		}
		list = append(list, story.Seen{
			"partition": record.Partition, "offset": record.Offset, "key": story.Show(record.Key), "value": story.Show(record.Value),
			"headers": headers, "timestamp": record.Timestamp.UnixMilli(), "timestamp_type": record.Attrs.TimestampType(), "codec": record.Attrs.CompressionType(),
		})
	}
	return story.Seen{"records": list}
}
