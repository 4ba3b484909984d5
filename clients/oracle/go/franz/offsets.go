package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"

	"headwater/clients/oracle/go/story"
)

// offsets lists offsets of the topic that `consume` filled: ten records in each of three partitions, three seconds apart.
func (d *driver) offsets() {
	for _, list := range []struct {
		step string
		list func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)
	}{
		{"start", d.admin.ListStartOffsets},
		{"end", d.admin.ListEndOffsets},
		{"stable", d.admin.ListCommittedOffsets},
		{"largest-timestamp", d.admin.ListMaxTimestampOffsets},
		{"before-first", d.at(story.Epoch - 1)},
		{"exact", d.at(story.Epoch + 6000)},
		{"between", d.at(story.Epoch + 6001)},
		{"last", d.at(story.Epoch + 29_000)},
		{"after-last", d.at(story.Epoch + 29_001)},
	} {
		d.step("list-offsets-"+list.step, func(ctx context.Context) (story.Seen, error) {
			listed, err := list.list(ctx, d.Name("plain"))
			return positions(listed), err
		})
	}
	d.step("list-offsets-in-compressed", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListOffsetsAfterMilli(ctx, story.Epoch+2500, d.Name("codec-zstd"))
		return positions(listed), err
	})
	d.step("list-offsets-unknown", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListEndOffsets(ctx, d.Name("nowhere"))
		return positions(listed), err
	})
	d.step("offset-for-leader-epoch", func(ctx context.Context) (story.Seen, error) {
		topics, err := d.admin.ListTopics(ctx, d.Name("plain"))
		if err != nil {
			return nil, err
		}
		epoch := topics[d.Name("plain")].Partitions[0].LeaderEpoch
		seen := story.Seen{}
		for name, asked := range map[string]int32{"current": epoch, "future": epoch + 1} {
			request := kadm.OffsetForLeaderEpochRequest{}
			request.Add(d.Name("plain"), 0, asked)
			ends, err := d.admin.OffsetForLeaderEpoch(ctx, request)
			if err != nil {
				return nil, err
			}
			end := ends[d.Name("plain")][0]
			seen[name] = story.Seen{"error": code(end.Err), "end": end.EndOffset, "same_epoch": end.LeaderEpoch == epoch}
		}
		return seen, nil
	})
	for _, trim := range []struct {
		step, rest string
		partition  int32
		to         int64
	}{{"some", "plain", 1, 4}, {"back", "plain", 1, 2}, {"too-far", "plain", 1, 11}, {"negative", "plain", 1, -7}, {"all", "plain", 2, -1}, {"unknown-partition", "plain", 9, 1}} {
		d.step("delete-records-"+trim.step, func(ctx context.Context) (story.Seen, error) {
			offsets := kadm.Offsets{}
			offsets.AddOffset(d.Name(trim.rest), trim.partition, trim.to, -1)
			responses, err := d.admin.DeleteRecords(ctx, offsets)
			if err != nil {
				return story.Seen{"error": code(err)}, nil
			}
			response := responses[d.Name(trim.rest)][trim.partition]
			return story.Seen{"error": code(response.Err), "low_watermark": response.LowWatermark}, nil
		})
	}
	d.step("list-offsets-trimmed", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListStartOffsets(ctx, d.Name("plain"))
		return positions(listed), err
	})
	d.step("list-offsets-trimmed-by-time", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.at(story.Epoch)(ctx, d.Name("plain"))
		return positions(listed), err
	})
	d.step("describe-log-dirs", func(ctx context.Context) (story.Seen, error) {
		set := kadm.TopicsSet{}
		set.Add(d.Name("plain"), 0, 1, 2)
		brokers, err := d.admin.DescribeAllLogDirs(ctx, set)
		if err != nil {
			return nil, err
		}
		partitions := 0
		brokers.Each(func(dir kadm.DescribedLogDir) { dir.Topics.Each(func(kadm.DescribedLogDirPartition) { partitions++ }) })
		return story.Seen{"partitions": partitions}, nil
	})
}

func (d *driver) at(milliseconds int64) func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
	return func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return d.admin.ListOffsetsAfterMilli(ctx, milliseconds, topics...)
	}
}

func positions(listed kadm.ListedOffsets) story.Seen {
	list := []story.Seen{}
	for _, topic := range sortedKeys(listed) {
		for _, partition := range sortedKeys(listed[topic]) {
			offset := listed[topic][partition]
			list = append(list, story.Seen{"partition": partition, "offset": offset.Offset, "timestamp": offset.Timestamp, "error": code(offset.Err)})
		}
	}
	return story.Seen{"offsets": list}
}
