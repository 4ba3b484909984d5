package main

import (
	"context"
	"strings"

	"github.com/Shopify/sarama"

	"headwater/clients/oracle/go/story"
)

// keep lets records with old timestamps live.
var keep = map[string]*string{"retention.ms": pointer("-1")}

func (d *driver) topics() {
	d.step("cluster", func(ctx context.Context) (story.Seen, error) {
		brokers, controller, err := d.admin.DescribeCluster()
		if err != nil {
			return nil, err
		}
		return story.Seen{"brokers": len(brokers), "controller_known": brokers[0].ID() == controller}, nil
	})
	for _, topic := range []struct {
		step, name string
		detail     sarama.TopicDetail
	}{
		{"plain", d.Name("plain"), sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": pointer("-1"), "max.message.bytes": pointer("1000000")}}},
		{"existing", d.Name("plain"), sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}},
		{"invalid-name", d.Name("a b"), sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}},
		{"no-partitions", d.Name("none"), sarama.TopicDetail{NumPartitions: 0, ReplicationFactor: 1}},
		{"many-replicas", d.Name("replicas"), sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 3}},
		{"wrong-config", d.Name("config"), sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": pointer("soon")}}},
		{"manual-assignment", d.Name("manual"), sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: map[int32][]int32{0: {d.broker()}, 1: {d.broker()}}}},
		{"assignment-to-nobody", d.Name("nobody"), sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: map[int32][]int32{0: {77}}}},
	} {
		d.step("create-topic-"+topic.step, func(ctx context.Context) (story.Seen, error) {
			err := d.admin.CreateTopic(topic.name, &topic.detail, false)
			if err != nil {
				return story.Seen{"error": code(err)}, nil
			}
			return story.Seen{"error": nil}, d.led(ctx, topic.name, max(1, int(topic.detail.NumPartitions), len(topic.detail.ReplicaAssignment)))
		})
	}
	d.step("create-topic-validate", func(ctx context.Context) (story.Seen, error) {
		return story.Seen{"error": code(d.admin.CreateTopic(d.Name("validated"), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true))}, nil
	})
	d.step("describe-topic", func(ctx context.Context) (story.Seen, error) { return d.described("plain") })
	// To ask for a topic was to create it before version 0.11.
	d.since(sarama.V0_11_0_0, "describe-topic-unknown", func(ctx context.Context) (story.Seen, error) { return d.described("nowhere") })
	d.step("describe-topic-configs", func(ctx context.Context) (story.Seen, error) { return d.configs("plain") })
	d.step("describe-topic-configs-unknown", func(ctx context.Context) (story.Seen, error) { return d.configs("nowhere") })
	for _, change := range []struct {
		step, rest, name, value string
		validate                bool
	}{
		{"state", "plain", "max.message.bytes", "900000", false},
		{"retention", "plain", "retention.ms", "-1", false},
		{"validate", "plain", "segment.bytes", "10000000", true},
		{"wrong", "plain", "retention.ms", "soon", false},
		{"unknown-topic", "nowhere", "retention.ms", "-1", false},
	} {
		d.step("alter-configs-"+change.step, func(ctx context.Context) (story.Seen, error) {
			err := d.admin.AlterConfig(sarama.TopicResource, d.Name(change.rest), map[string]*string{change.name: pointer(change.value)}, change.validate)
			seen := story.Seen{"error": code(err)}
			if err != nil || change.validate {
				return seen, nil
			}
			// The controller answers; the broker that describes learns of it a moment later.
			return seen, story.Settle(ctx, func() (bool, error) {
				set, err := d.configs(change.rest)
				seen["set"] = set["set"]
				return err == nil && set["set"].(story.Seen)[change.name] == change.value, err
			})
		})
	}
	for _, growth := range []struct {
		step, rest string
		to         int32
	}{{"add", "manual", 4}, {"same", "manual", 4}, {"reduce", "manual", 1}, {"unknown-topic", "nowhere", 2}} {
		d.step("partitions-"+growth.step, func(ctx context.Context) (story.Seen, error) {
			if err := d.admin.CreatePartitions(d.Name(growth.rest), growth.to, nil, false); err != nil {
				return story.Seen{"error": code(err)}, nil
			}
			return story.Seen{"error": nil}, d.led(ctx, d.Name(growth.rest), int(growth.to))
		})
	}
	d.since(sarama.V0_11_0_0, "list-topics", func(ctx context.Context) (story.Seen, error) {
		topics, err := d.admin.ListTopics()
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for name, detail := range topics {
			if strings.HasPrefix(name, d.Prefix()) {
				seen[name] = story.Seen{"partitions": detail.NumPartitions, "replicas": detail.ReplicationFactor, "set": detail.ConfigEntries}
			}
		}
		return story.Seen{"topics": seen}, nil
	})
}

// broker is the id of some broker.
func (d *driver) broker() int32 {
	for _, broker := range d.client.Brokers() {
		return broker.ID()
	}
	return -1
}

// led waits until a topic has so many partitions whose leaders know that they are.
func (d *driver) led(ctx context.Context, topic string, partitions int) error {
	return story.Settle(ctx, func() (bool, error) {
		topics, err := d.admin.DescribeTopics([]string{topic})
		if err != nil || topics[0].Err != sarama.ErrNoError || len(topics[0].Partitions) != partitions {
			return false, err
		}
		for partition := range int32(partitions) {
			if _, err := d.client.GetOffset(topic, partition, sarama.OffsetNewest); err != nil {
				return false, nil
			}
		}
		return true, nil
	})
}

// create makes a topic of this run.
func (d *driver) create(ctx context.Context, rest string, partitions int32, configs map[string]*string) error {
	if err := d.admin.CreateTopic(d.Name(rest), &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}, false); err != nil {
		return err
	}
	return d.led(ctx, d.Name(rest), int(partitions))
}

func (d *driver) described(rest string) (story.Seen, error) {
	topics, err := d.admin.DescribeTopics([]string{d.Name(rest)})
	if err != nil {
		return nil, err
	}
	partitions := map[int32]story.Seen{}
	for _, p := range topics[0].Partitions {
		partitions[p.ID] = story.Seen{"error": code(p.Err), "led": p.Leader >= 0, "replicas": len(p.Replicas), "isr": len(p.Isr), "offline": len(p.OfflineReplicas)}
	}
	return story.Seen{"error": code(topics[0].Err), "internal": topics[0].IsInternal, "partitions": partitions}, nil
}

func (d *driver) configs(rest string) (story.Seen, error) {
	entries, err := d.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: d.Name(rest)})
	set := story.Seen{}
	for _, entry := range entries {
		// Before version 1.1 the answer says no more than whether a config is a default.
		if entry.Source == sarama.SourceTopic || (!d.version.IsAtLeast(sarama.V1_1_0_0) && !entry.Default) {
			set[entry.Name] = entry.Value
		}
	}
	return story.Seen{"error": code(err), "set": set}, nil
}
