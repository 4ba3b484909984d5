package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Shopify/sarama"

	"headwater/clients/oracle/go/story"
)

// codecs are those that the version has.
func (d *driver) codecs() []sarama.CompressionCodec {
	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy}
	if d.version.IsAtLeast(sarama.V0_10_0_0) {
		codecs = append(codecs, sarama.CompressionLZ4)
	}
	if d.version.IsAtLeast(sarama.V2_1_0_0) {
		codecs = append(codecs, sarama.CompressionZSTD)
	}
	return codecs
}

func (d *driver) produce() {
	for _, codec := range d.codecs() {
		topic := "codec-" + codec.String()
		d.step("produce-create-"+codec.String(), func(ctx context.Context) (story.Seen, error) { return nil, d.create(ctx, topic, 1, keep) })
		for _, acks := range []struct {
			name       string
			acks       sarama.RequiredAcks
			idempotent bool
		}{{"0", sarama.NoResponse, false}, {"1", sarama.WaitForLocal, false}, {"all", sarama.WaitForAll, false}, {"idempotent", sarama.WaitForAll, true}} {
			if acks.idempotent && !d.version.IsAtLeast(sarama.V0_11_0_0) {
				continue
			}
			d.step(fmt.Sprintf("produce-%s-acks-%s", codec, acks.name), func(ctx context.Context) (story.Seen, error) {
				before, err := d.client.GetOffset(d.Name(topic), 0, sarama.OffsetNewest)
				if err != nil {
					return nil, err
				}
				messages := d.messages(topic)
				seen, err := d.send(messages, func(config *sarama.Config) {
					config.Producer.RequiredAcks, config.Producer.Compression = acks.acks, codec
					if acks.idempotent {
						config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
					}
				})
				if err != nil {
					return nil, err
				}
				if acks.acks == sarama.NoResponse {
					// Nobody says when they are there, nor where.
					delete(seen, "records")
				}
				err = story.Settle(ctx, func() (bool, error) {
					now, err := d.client.GetOffset(d.Name(topic), 0, sarama.OffsetNewest)
					seen["end"] = now
					return now >= before+int64(len(messages)), err
				})
				return seen, err
			})
		}
	}
	for _, refusal := range []struct {
		step    string
		configs map[string]*string
		message sarama.ProducerMessage
	}{
		{"too-large-for-broker", keep, sarama.ProducerMessage{Value: sarama.ByteEncoder(story.Noise(1_200_000))}},
		{"too-large-for-topic", map[string]*string{"max.message.bytes": pointer("10000")}, sarama.ProducerMessage{Value: sarama.ByteEncoder(story.Noise(12_000))}},
		{"compacted-without-key", map[string]*string{"cleanup.policy": pointer("compact")}, sarama.ProducerMessage{Value: sarama.StringEncoder("no key")}},
	} {
		d.step("produce-"+refusal.step, func(ctx context.Context) (story.Seen, error) {
			if err := d.create(ctx, refusal.step, 1, refusal.configs); err != nil {
				return nil, err
			}
			message := refusal.message
			message.Topic = d.Name(refusal.step)
			return d.send([]*sarama.ProducerMessage{&message}, func(*sarama.Config) {})
		})
	}
	d.step("produce-append-time", func(ctx context.Context) (story.Seen, error) {
		if err := d.create(ctx, "append-time", 1, map[string]*string{"message.timestamp.type": pointer("LogAppendTime")}); err != nil {
			return nil, err
		}
		messages := d.messages("append-time")[:2]
		seen, err := d.send(messages, func(*sarama.Config) {})
		seen["recent"] = time.Since(messages[0].Timestamp) < time.Hour
		return seen, err
	})
	d.step("produce-auto-create", func(ctx context.Context) (story.Seen, error) {
		return d.send([]*sarama.ProducerMessage{{Topic: d.Name("automatic"), Value: sarama.StringEncoder("found")}}, func(*sarama.Config) {})
	})
	d.since(sarama.V0_11_0_0, "init-producer-id", func(ctx context.Context) (story.Seen, error) {
		response, err := d.client.InitProducerID()
		if err != nil {
			return nil, err
		}
		return story.Seen{"error": code(response.Err), "has_id": response.ProducerID >= 0, "epoch": response.ProducerEpoch}, nil
	})
}

func (d *driver) messages(rest string) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for _, record := range story.Records() {
		message := &sarama.ProducerMessage{Topic: d.Name(rest), Timestamp: time.UnixMilli(record.Timestamp)}
		if record.Key != nil {
			message.Key = sarama.ByteEncoder(record.Key)
		}
		if record.Value != nil {
			message.Value = sarama.ByteEncoder(record.Value)
		}
		for _, header := range record.Headers {
			if d.version.IsAtLeast(sarama.V0_11_0_0) {
				message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
			}
		}
		messages = append(messages, message)
	}
	return messages
}

// send shows the offset or the error of each message.
func (d *driver) send(messages []*sarama.ProducerMessage, configure func(*sarama.Config)) (story.Seen, error) {
	config := d.config()
	configure(config)
	producer, err := sarama.NewSyncProducer([]string{d.Bootstrap}, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	failures := map[*sarama.ProducerMessage]error{}
	if err := producer.SendMessages(messages); err != nil {
		var failed sarama.ProducerErrors
		if !errors.As(err, &failed) {
			return nil, err
		}
		for _, failure := range failed {
			failures[failure.Msg] = failure.Err
		}
	}
	list := []any{}
	for _, message := range messages {
		if failure := failures[message]; failure != nil {
			list = append(list, code(failure))
		} else {
			list = append(list, message.Offset)
		}
	}
	return story.Seen{"records": list}, nil
}
