package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func admin(j *job) (context.Context, func(), *kadm.Client, error) {
	timeout, err := j.timeout()
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := kadm.NewOptClient(j.seeds())
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	return ctx, func() { cancel(); client.Close() }, client, nil
}

// createTopics makes topics with a number of partitions and configs (k=v,k=v); existing ones are an error.
func createTopics(j *job) (string, error) {
	if err := j.need("bootstrap", "topics", "partitions"); err != nil {
		return "", err
	}
	partitions, err := j.number("partitions", 1)
	if err != nil {
		return "", err
	}
	configs := map[string]*string{}
	for _, pair := range strings.FieldsFunc(j.text("configs", ""), func(r rune) bool { return r == ',' }) {
		key, value, _ := strings.Cut(pair, "=")
		configs[key] = &value
	}
	ctx, done, client, err := admin(j)
	if err != nil {
		return "", err
	}
	defer done()
	created, err := client.CreateTopics(ctx, int32(partitions), 1, configs, j.topics()...)
	if err == nil {
		err = created.Error()
	}
	return fmt.Sprintf("topics=%d", len(j.topics())), err
}

// committed asks for a group's offsets: `offsets=topic:partition:offset,…`.
func committed(j *job) (string, error) {
	if err := j.need("bootstrap", "group"); err != nil {
		return "", err
	}
	ctx, done, client, err := admin(j)
	if err != nil {
		return "", err
	}
	defer done()
	offsets, err := client.FetchOffsets(ctx, j.text("group", ""))
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return "", err
	}
	var list []string
	offsets.Each(func(o kadm.OffsetResponse) { list = append(list, fmt.Sprintf("%s:%d:%d", o.Topic, o.Partition, o.At)) })
	sort.Strings(list)
	return "offsets=" + strings.Join(list, ","), nil
}

// commit commits as a member of the group and reports each partition that the broker confirmed.
func commit(ctx context.Context, client *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset, confirmed func(topic string, partition int32, offset int64)) error {
	var failures []error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failures = append(failures, err)
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					failures = append(failures, fmt.Errorf("commit of %s-%d: %w", topic.Topic, partition.Partition, err))
				} else if confirmed != nil {
					confirmed(topic.Topic, partition.Partition, offsets[topic.Topic][partition.Partition].Offset)
				}
			}
		}
	})
	return errors.Join(failures...)
}
