package main

import (
	"context"
	"time"

	"github.com/Shopify/sarama"

	"headwater/clients/oracle/go/story"
)

func (d *driver) consume() {
	for _, codec := range d.codecs() {
		d.step("consume-"+codec.String(), func(ctx context.Context) (story.Seen, error) {
			end, err := d.client.GetOffset(d.Name("codec-"+codec.String()), 0, sarama.OffsetNewest)
			if err != nil {
				return nil, err
			}
			return d.read(ctx, "codec-"+codec.String(), 0, sarama.OffsetOldest, int(end))
		})
	}
	d.step("consume-prepare", func(ctx context.Context) (story.Seen, error) {
		var messages []*sarama.ProducerMessage
		for i := range 30 {
			messages = append(messages, &sarama.ProducerMessage{Topic: d.Name("plain"), Partition: int32(i % 3), Value: sarama.ByteEncoder{byte('a' + i)}, Timestamp: time.UnixMilli(story.Epoch + int64(i)*1000)})
		}
		return d.send(messages, func(*sarama.Config) {})
	})
	for _, from := range []struct {
		step      string
		partition int32
		offset    int64
		count     int
	}{{"start", 0, sarama.OffsetOldest, 10}, {"start", 2, sarama.OffsetOldest, 10}, {"offset", 1, 4, 6}, {"out-of-range", 0, 1000, 1}, {"unknown-partition", 9, 0, 1}} {
		d.step("consume-"+from.step, func(ctx context.Context) (story.Seen, error) {
			return d.read(ctx, "plain", from.partition, from.offset, from.count)
		})
	}
	// The client itself looks whether an offset is in range; this asks the broker.
	d.since(sarama.V0_11_0_0, "fetch-out-of-range", func(ctx context.Context) (story.Seen, error) {
		leader, err := d.client.Leader(d.Name("plain"), 0)
		if err != nil {
			return nil, err
		}
		request := &sarama.FetchRequest{MaxWaitTime: 100, MinBytes: 1, MaxBytes: 1 << 20, Version: 4}
		ask(request, d.Name("plain"), 0, 1000)
		ask(request, d.Name("plain"), 1, 0)
		ask(request, d.Name("nowhere"), 0, 0)
		response, err := leader.Fetch(request)
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for name, block := range map[string]*sarama.FetchResponseBlock{
			"beyond": response.GetBlock(d.Name("plain"), 0), "there": response.GetBlock(d.Name("plain"), 1), "nowhere": response.GetBlock(d.Name("nowhere"), 0),
		} {
			seen[name] = story.Seen{"error": code(block.Err), "high_watermark": block.HighWaterMarkOffset, "stable": block.LastStableOffset}
		}
		return seen, nil
	})
	for _, at := range []struct {
		step string
		time int64
	}{{"start", sarama.OffsetOldest}, {"end", sarama.OffsetNewest}, {"before-first", story.Epoch - 1}, {"exact", story.Epoch + 6000}, {"between", story.Epoch + 6001}, {"last", story.Epoch + 29_000}, {"after-last", story.Epoch + 29_001}} {
		// Version 0 of the request knows segments, not times.
		if at.time >= 0 && !d.version.IsAtLeast(sarama.V0_10_1_0) {
			continue
		}
		d.step("list-offsets-"+at.step, func(ctx context.Context) (story.Seen, error) { return d.positions("plain", at.time) })
	}
	for _, trim := range []struct {
		step string
		to   map[int32]int64
	}{{"some", map[int32]int64{1: 4, 2: -1}}, {"too-far", map[int32]int64{1: 11}}} {
		d.step("delete-records-"+trim.step, func(ctx context.Context) (story.Seen, error) {
			seen := story.Seen{"error": code(d.admin.DeleteRecords(d.Name("plain"), trim.to))}
			then, err := d.positions("plain", sarama.OffsetOldest)
			seen["start"] = then["offsets"]
			return seen, err
		})
	}
	d.since(sarama.V1_0_0_0, "describe-log-dirs", func(ctx context.Context) (story.Seen, error) {
		brokers, err := d.admin.DescribeLogDirs([]int32{d.broker()})
		if err != nil {
			return nil, err
		}
		partitions := 0
		for _, dirs := range brokers {
			for _, dir := range dirs {
				for _, topic := range dir.Topics {
					if topic.Topic == d.Name("plain") {
						partitions += len(topic.Partitions)
					}
				}
			}
		}
		return story.Seen{"partitions": partitions}, nil
	})
}

// ask adds a partition to a request; today's client wants an epoch as well.
func ask(request any, topic string, partition int32, offset int64) {
	switch request := request.(type) {
	case interface {
		AddBlock(topic string, partition int32, offset int64, bytesMax int32)
	}:
		request.AddBlock(topic, partition, offset, 1<<20)
	case interface {
		AddBlock(topic string, partition int32, offset int64, bytesMax int32, leaderEpoch int32)
	}:
		request.AddBlock(topic, partition, offset, 1<<20, -1)
	}
}

// positions lists the offsets of three partitions at a time.
func (d *driver) positions(rest string, at int64) (story.Seen, error) {
	list := []any{}
	for partition := range int32(3) {
		offset, err := d.client.GetOffset(d.Name(rest), partition, at)
		if err != nil {
			list = append(list, code(err))
		} else {
			list = append(list, offset)
		}
	}
	return story.Seen{"offsets": list}, nil
}

// read reads so many messages of a partition from an offset on.
func (d *driver) read(ctx context.Context, rest string, partition int32, offset int64, count int) (story.Seen, error) {
	consumer, err := sarama.NewConsumer([]string{d.Bootstrap}, d.config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	reading, err := consumer.ConsumePartition(d.Name(rest), partition, offset)
	if err != nil {
		return story.Seen{"error": code(err)}, nil
	}
	defer reading.AsyncClose()
	messages := []*sarama.ConsumerMessage{}
	for len(messages) < count {
		select {
		case message := <-reading.Messages():
			messages = append(messages, message)
		case failure := <-reading.Errors():
			return shown(messages), failure
		case <-ctx.Done():
			return shown(messages), ctx.Err()
		}
	}
	return shown(messages), nil
}

func shown(messages []*sarama.ConsumerMessage) story.Seen {
	list := []story.Seen{}
	for _, message := range messages {
		headers := []any{}
		for _, header := range message.Headers {
			headers = append(headers, []any{string(header.Key), story.Show(header.Value)})
		}
		seen := story.Seen{"partition": message.Partition, "offset": message.Offset, "key": story.Show(message.Key), "value": story.Show(message.Value), "headers": headers}
		if !message.Timestamp.IsZero() {
			seen["timestamp"] = message.Timestamp.UnixMilli()
		}
		list = append(list, seen)
	}
	return story.Seen{"records": list}
}
