package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"headwater/clients/oracle/go/story"
)

var codecs = []struct {
	name  string
	codec kafka.Compression
}{{"none", 0}, {"gzip", kafka.Gzip}, {"snappy", kafka.Snappy}, {"lz4", kafka.Lz4}, {"zstd", kafka.Zstd}}

func (d *driver) produce() {
	for _, codec := range codecs {
		topic := "codec-" + codec.name
		d.step("produce-create-"+codec.name, func(ctx context.Context) (story.Seen, error) {
			return d.create(ctx, kafka.TopicConfig{Topic: d.Name(topic), NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: keep})
		})
		for _, acks := range []struct {
			name string
			acks kafka.RequiredAcks
		}{{"0", kafka.RequireNone}, {"1", kafka.RequireOne}, {"all", kafka.RequireAll}} {
			d.step(fmt.Sprintf("produce-%s-acks-%s", codec.name, acks.name), func(ctx context.Context) (story.Seen, error) {
				before, err := d.end(ctx, topic)
				if err != nil {
					return nil, err
				}
				writer := d.writer(topic)
				writer.Compression, writer.RequiredAcks = codec.codec, acks.acks
				defer writer.Close()
				messages := messages()
				seen := story.Seen{"error": code(writer.WriteMessages(ctx, messages...))}
				err = story.Settle(ctx, func() (bool, error) {
					now, err := d.end(ctx, topic)
					seen["end"] = now
					return now >= before+int64(len(messages)), err
				})
				return seen, err
			})
		}
	}
	for _, refusal := range []struct {
		step   string
		config []kafka.ConfigEntry
		value  []byte
	}{
		{"too-large-for-broker", keep, story.Noise(1_200_000)},
		{"too-large-for-topic", []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "10000"}}, story.Noise(12_000)},
		{"compacted-without-key", []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}, []byte("no key")},
	} {
		d.step("produce-"+refusal.step, func(ctx context.Context) (story.Seen, error) {
			if created, err := d.create(ctx, kafka.TopicConfig{Topic: d.Name(refusal.step), NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: refusal.config}); err != nil || created["error"] != nil {
				return created, err
			}
			return d.raw(ctx, kafka.ProduceRequest{Topic: d.Name(refusal.step)}, refusal.value)
		})
	}
	// The Client says where records came to lie.
	d.step("produce-raw", func(ctx context.Context) (story.Seen, error) {
		return d.raw(ctx, kafka.ProduceRequest{Topic: d.Name("plain"), Partition: 2, Compression: kafka.Gzip}, []byte("first"), []byte("second"))
	})
	d.step("produce-unknown-topic", func(ctx context.Context) (story.Seen, error) {
		writer := d.writer("nowhere")
		defer writer.Close()
		return story.Seen{"error": code(writer.WriteMessages(ctx, kafka.Message{Value: []byte("lost")}))}, nil
	})
	d.step("produce-auto-create", func(ctx context.Context) (story.Seen, error) {
		writer := d.writer("automatic")
		defer writer.Close()
		writer.AllowAutoTopicCreation = true
		// The topic is there a moment after it was asked for.
		err := story.Settle(ctx, func() (bool, error) {
			return writer.WriteMessages(ctx, kafka.Message{Value: []byte("found")}) == nil, nil
		})
		if err != nil {
			return nil, err
		}
		end, err := d.end(ctx, "automatic")
		return story.Seen{"end": end}, err
	})
	d.step("init-producer-id", func(ctx context.Context) (story.Seen, error) {
		response, err := d.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{})
		if err != nil {
			return nil, err
		}
		return story.Seen{"error": code(response.Error), "has_id": response.Producer.ProducerID >= 0, "epoch": response.Producer.ProducerEpoch}, nil
	})
}

func (d *driver) writer(rest string) *kafka.Writer {
	return &kafka.Writer{
		Addr: d.client.Addr, Topic: d.Name(rest), Transport: d.client.Transport, Balancer: &kafka.RoundRobin{},
		BatchTimeout: 10 * time.Millisecond, BatchBytes: 2_000_000, MaxAttempts: 2, RequiredAcks: kafka.RequireAll,
	}
}

func (d *driver) raw(ctx context.Context, request kafka.ProduceRequest, values ...[]byte) (story.Seen, error) {
	var records []kafka.Record
	for i, value := range values {
		records = append(records, kafka.Record{Time: time.UnixMilli(story.Epoch + int64(i)), Value: kafka.NewBytes(value)})
	}
	request.RequiredAcks, request.Records = kafka.RequireAll, kafka.NewRecordReader(records...)
	response, err := d.client.Produce(ctx, &request)
	if err != nil {
		return story.Seen{"error": code(err)}, nil
	}
	failures := map[int]any{}
	for i, failure := range response.RecordErrors {
		failures[i] = failure.Error()
	}
	return story.Seen{"error": code(response.Error), "offset": response.BaseOffset, "log_start": response.LogStartOffset, "record_errors": failures}, nil
}

func messages() []kafka.Message {
	var messages []kafka.Message
	for _, record := range story.Records() {
		message := kafka.Message{Key: record.Key, Value: record.Value, Time: time.UnixMilli(record.Timestamp)}
		for _, header := range record.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header.Key, Value: header.Value})
		}
		messages = append(messages, message)
	}
	return messages
}

// end is the end offset of partition 0.
func (d *driver) end(ctx context.Context, rest string) (int64, error) {
	response, err := d.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{d.Name(rest): {kafka.LastOffsetOf(0)}}})
	if err != nil {
		return -1, err
	}
	partition := response.Topics[d.Name(rest)][0]
	return partition.LastOffset, partition.Error
}
