package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"headwater/clients/oracle/go/story"
)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()},
	{"gzip", kgo.GzipCompression()},
	{"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

func (d *driver) produce() {
	for _, codec := range codecs {
		topic := "codec-" + codec.name
		d.step("produce-create-"+codec.name, func(ctx context.Context) (story.Seen, error) { return d.create(ctx, 1, 1, keep, topic) })
		for _, acks := range []struct {
			name    string
			options []kgo.Opt
		}{
			{"0", []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}},
			{"1", []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}},
			{"all", []kgo.Opt{kgo.DisableIdempotentWrite()}},
			{"idempotent", nil},
		} {
			d.step(fmt.Sprintf("produce-%s-acks-%s", codec.name, acks.name), func(ctx context.Context) (story.Seen, error) {
				before, err := d.end(ctx, topic)
				if err != nil {
					return nil, err
				}
				client := d.open(append(acks.options, kgo.ProducerBatchCompression(codec.codec), kgo.ProducerLinger(20*time.Millisecond))...)
				defer client.Close()
				records := d.records(topic)
				seen := produced(client.ProduceSync(ctx, records...), acks.name != "0")
				// Nobody says when what needs no acknowledgement is there.
				err = story.Settle(ctx, func() (bool, error) {
					now, err := d.end(ctx, topic)
					seen["end"] = now
					return now >= before+int64(len(records)), err
				})
				return seen, err
			})
		}
	}
	d.refusals()
	d.step("produce-append-time", func(ctx context.Context) (story.Seen, error) {
		if _, err := d.create(ctx, 1, 1, map[string]*string{"message.timestamp.type": pointer("LogAppendTime")}, "append-time"); err != nil {
			return nil, err
		}
		client := d.open()
		defer client.Close()
		return produced(client.ProduceSync(ctx, d.records("append-time")[:2]...), true), nil
	})
	d.step("init-producer-id", func(ctx context.Context) (story.Seen, error) {
		response, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, d.client)
		if err != nil {
			return nil, err
		}
		return story.Seen{"error": code(kerr.ErrorForCode(response.ErrorCode)), "has_id": response.ProducerID >= 0, "epoch": response.ProducerEpoch}, nil
	})
}

// refusals are records that a broker does not take.
func (d *driver) refusals() {
	for _, refusal := range []struct {
		step    string
		configs map[string]*string
		record  kgo.Record
	}{
		{"too-large-for-broker", keep, kgo.Record{Value: story.Noise(1_200_000)}},
		{"too-large-for-topic", map[string]*string{"max.message.bytes": pointer("10000")}, kgo.Record{Value: story.Noise(12_000)}},
		{"compacted-without-key", map[string]*string{"cleanup.policy": pointer("compact")}, kgo.Record{Value: []byte("no key")}},
		{"timestamp-too-late", map[string]*string{"message.timestamp.after.max.ms": pointer("3600000")}, kgo.Record{Value: []byte("late"), Timestamp: time.UnixMilli(4_000_000_000_000)}},
		{"timestamp-too-early", map[string]*string{"message.timestamp.before.max.ms": pointer("3600000")}, kgo.Record{Value: []byte("early"), Timestamp: time.UnixMilli(story.Epoch)}},
		{"few-in-sync", map[string]*string{"min.insync.replicas": pointer("2")}, kgo.Record{Value: []byte("alone"), Timestamp: time.UnixMilli(story.Epoch)}},
	} {
		d.step("produce-"+refusal.step, func(ctx context.Context) (story.Seen, error) {
			if created, err := d.create(ctx, 1, 1, refusal.configs, refusal.step); err != nil || created["error"] != nil {
				return created, err
			}
			client := d.open(kgo.ProducerBatchMaxBytes(2_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(1), kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			defer client.Close()
			record := refusal.record
			record.Topic = d.Name(refusal.step)
			seen := produced(client.ProduceSync(ctx, &record), true)
			end, err := d.end(ctx, refusal.step)
			seen["end"] = end
			return seen, err
		})
	}
	d.step("produce-unknown-topic", func(ctx context.Context) (story.Seen, error) {
		client := d.open(kgo.UnknownTopicRetries(1))
		defer client.Close()
		return produced(client.ProduceSync(ctx, &kgo.Record{Topic: d.Name("nowhere"), Value: []byte("lost")}), true), nil
	})
	d.step("produce-auto-create", func(ctx context.Context) (story.Seen, error) {
		client := d.open(kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1))
		defer client.Close()
		return produced(client.ProduceSync(ctx, &kgo.Record{Topic: d.Name("automatic"), Value: []byte("found")}), true), nil
	})
}

func (d *driver) records(rest string) []*kgo.Record {
	var records []*kgo.Record
	for _, record := range story.Records() {
		made := &kgo.Record{Topic: d.Name(rest), Key: record.Key, Value: record.Value, Timestamp: time.UnixMilli(record.Timestamp)}
		for _, header := range record.Headers {
			made.Headers = append(made.Headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
		}
		records = append(records, made)
	}
	return records
}

// produced shows the offset or the error of each record.
func produced(results kgo.ProduceResults, acknowledged bool) story.Seen {
	list := []any{}
	for _, result := range results {
		switch {
		case result.Err != nil:
			list = append(list, code(result.Err))
		case acknowledged:
			list = append(list, result.Record.Offset)
		default:
			list = append(list, "sent")
		}
	}
	return story.Seen{"records": list}
}

// end is the end offset of partition 0.
func (d *driver) end(ctx context.Context, rest string) (int64, error) {
	listed, err := d.admin.ListEndOffsets(ctx, d.Name(rest))
	if err != nil {
		return -1, err
	}
	offset, _ := listed.Lookup(d.Name(rest), 0)
	return offset.Offset, offset.Err
}
