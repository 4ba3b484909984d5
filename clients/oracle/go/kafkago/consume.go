package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"headwater/clients/oracle/go/story"
)

func (d *driver) consume() {
	for _, codec := range codecs {
		d.step("consume-"+codec.name, func(ctx context.Context) (story.Seen, error) {
			return d.read(ctx, "codec-"+codec.name, 0, 18, func(reader *kafka.Reader) error { return reader.SetOffset(kafka.FirstOffset) })
		})
	}
	d.step("consume-prepare", func(ctx context.Context) (story.Seen, error) {
		writer := d.writer("queue")
		defer writer.Close()
		var messages []kafka.Message
		for i := range 10 {
			messages = append(messages, kafka.Message{Value: []byte{byte('0' + i)}, Time: time.UnixMilli(story.Epoch + int64(i)*1000)})
		}
		if _, err := d.create(ctx, kafka.TopicConfig{Topic: d.Name("queue"), NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: keep}); err != nil {
			return nil, err
		}
		return story.Seen{"error": code(writer.WriteMessages(ctx, messages...))}, nil
	})
	for _, seek := range []struct {
		step  string
		to    func(ctx context.Context, reader *kafka.Reader) error
		count int
	}{
		{"offset", func(_ context.Context, r *kafka.Reader) error { return r.SetOffset(4) }, 6},
		{"before-first", func(ctx context.Context, r *kafka.Reader) error {
			return r.SetOffsetAt(ctx, time.UnixMilli(story.Epoch-1))
		}, 10},
		{"exact-time", func(ctx context.Context, r *kafka.Reader) error {
			return r.SetOffsetAt(ctx, time.UnixMilli(story.Epoch+3000))
		}, 7},
		{"between-times", func(ctx context.Context, r *kafka.Reader) error {
			return r.SetOffsetAt(ctx, time.UnixMilli(story.Epoch+3001))
		}, 6},
		{"out-of-range", func(_ context.Context, r *kafka.Reader) error { return r.SetOffset(1000) }, 1},
	} {
		d.step("seek-"+seek.step, func(ctx context.Context) (story.Seen, error) {
			return d.read(ctx, "queue", 0, seek.count, func(reader *kafka.Reader) error { return seek.to(ctx, reader) })
		})
	}
	for _, fetch := range []struct {
		step, rest string
		partition  int
		offset     int64
	}{{"there", "queue", 0, 7}, {"end", "queue", 0, 10}, {"beyond", "queue", 0, 11}, {"nowhere", "nowhere", 0, 0}, {"unknown-partition", "queue", 9, 0}} {
		d.step("fetch-"+fetch.step, func(ctx context.Context) (story.Seen, error) {
			response, err := d.client.Fetch(ctx, &kafka.FetchRequest{Topic: d.Name(fetch.rest), Partition: fetch.partition, Offset: fetch.offset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond})
			if err != nil {
				return story.Seen{"error": code(err)}, nil
			}
			offsets := []int64{}
			for response.Records != nil {
				record, err := response.Records.ReadRecord()
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return nil, err
				}
				offsets = append(offsets, record.Offset)
			}
			return story.Seen{"error": code(response.Error), "high_watermark": response.HighWatermark, "stable": response.LastStableOffset, "log_start": response.LogStartOffset, "offsets": offsets}, nil
		})
	}
	d.step("list-offsets", func(ctx context.Context) (story.Seen, error) {
		asked := []kafka.OffsetRequest{kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0), kafka.FirstOffsetOf(9)}
		response, err := d.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{d.Name("queue"): asked}})
		if err != nil {
			return nil, err
		}
		seen := map[int]story.Seen{}
		for _, partition := range response.Topics[d.Name("queue")] {
			seen[partition.Partition] = story.Seen{"first": partition.FirstOffset, "last": partition.LastOffset, "error": code(partition.Error)}
		}
		return story.Seen{"partitions": seen}, nil
	})
	for _, at := range []struct {
		step string
		time int64
	}{{"before-first", -1}, {"exact", 3000}, {"between", 3001}, {"last", 9000}, {"after-last", 9001}} {
		d.step("list-offsets-"+at.step, func(ctx context.Context) (story.Seen, error) {
			response, err := d.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{d.Name("queue"): {kafka.TimeOffsetOf(0, time.UnixMilli(story.Epoch+at.time))}}})
			if err != nil {
				return nil, err
			}
			partition := response.Topics[d.Name("queue")][0]
			return story.Seen{"offsets": slices.Sorted(maps.Keys(partition.Offsets)), "error": code(partition.Error)}, nil
		})
	}
}

// read reads so many messages of a partition as a reader without a group.
func (d *driver) read(ctx context.Context, rest string, partition, count int, seek func(*kafka.Reader) error) (story.Seen, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{d.Bootstrap}, Topic: d.Name(rest), Partition: partition, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 200 * time.Millisecond, OffsetOutOfRangeError: true, MaxAttempts: 2})
	defer reader.Close()
	if err := seek(reader); err != nil {
		return nil, err
	}
	messages := []kafka.Message{}
	for len(messages) < count {
		message, err := reader.ReadMessage(ctx)
		if ctx.Err() != nil {
			return shown(messages), ctx.Err()
		} else if err != nil {
			seen := shown(messages)
			seen["error"] = code(err)
			return seen, nil
		}
		messages = append(messages, message)
	}
	return shown(messages), nil
}

func shown(messages []kafka.Message) story.Seen {
	list := []story.Seen{}
	for _, message := range messages {
		headers := []any{}
		for _, header := range message.Headers {
			headers = append(headers, []any{header.Key, story.Show(header.Value)})
		}
		list = append(list, story.Seen{
			"partition": message.Partition, "offset": message.Offset, "key": story.Show(message.Key), "value": story.Show(message.Value), "headers": headers, "timestamp": message.Time.UnixMilli(),
		})
	}
	return story.Seen{"records": list}
}
