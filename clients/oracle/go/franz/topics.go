package main

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"headwater/clients/oracle/go/story"
)

// keep lets records with old timestamps live.
var keep = map[string]*string{"retention.ms": pointer("-1")}

func (d *driver) topics() {
	d.step("cluster", func(ctx context.Context) (story.Seen, error) {
		metadata, err := d.admin.BrokerMetadata(ctx)
		if err != nil {
			return nil, err
		}
		known := slices.ContainsFunc(metadata.Brokers, func(b kadm.BrokerDetail) bool { return b.NodeID == metadata.Controller })
		return story.Seen{"brokers": len(metadata.Brokers), "controller_known": known, "cluster_id": metadata.Cluster != ""}, nil
	})
	d.step("describe-cluster", func(ctx context.Context) (story.Seen, error) {
		response, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, d.client)
		if err != nil {
			return nil, err
		}
		return story.Seen{"error": code(kerr.ErrorForCode(response.ErrorCode)), "brokers": len(response.Brokers), "operations": response.ClusterAuthorizedOperations}, nil
	})
	d.step("create-topic", func(ctx context.Context) (story.Seen, error) {
		return d.create(ctx, 3, 1, map[string]*string{"retention.ms": pointer("-1"), "max.message.bytes": pointer("1000000"), "min.insync.replicas": pointer("1")}, "plain")
	})
	for _, topic := range []struct {
		step, name string
		partitions int32
		replicas   int16
		configs    map[string]*string
	}{
		{"existing", d.Name("plain"), 1, 1, nil},
		{"dotted", d.Name("col.lide"), 1, 1, nil},
		{"colliding", d.Name("col_lide"), 1, 1, nil},
		{"slash", d.Name("a/b"), 1, 1, nil},
		{"too-long", d.Name(strings.Repeat("x", 250)), 1, 1, nil},
		{"empty-name", "", 1, 1, nil},
		{"dots", "..", 1, 1, nil},
		{"no-partitions", d.Name("none"), 0, 1, nil},
		{"default-partitions", d.Name("defaults"), -1, -1, nil},
		{"many-replicas", d.Name("replicas"), 1, 3, nil},
		{"unknown-config", d.Name("config"), 1, 1, map[string]*string{"no.such.config": pointer("1")}},
		{"wrong-config", d.Name("config"), 1, 1, map[string]*string{"retention.ms": pointer("soon")}},
		{"config-out-of-range", d.Name("config"), 1, 1, map[string]*string{"max.message.bytes": pointer("-1")}},
		{"null-config", d.Name("config"), 1, 1, map[string]*string{"retention.ms": nil}},
	} {
		d.step("create-topic-"+topic.step, func(ctx context.Context) (story.Seen, error) {
			return d.createNamed(ctx, topic.partitions, topic.replicas, topic.configs, topic.name)
		})
	}
	d.step("create-topic-validate", func(ctx context.Context) (story.Seen, error) {
		responses, err := d.admin.ValidateCreateTopics(ctx, 2, 1, keep, d.Name("validated"))
		if err != nil {
			return nil, err
		}
		listed, err := d.admin.ListTopics(ctx, d.Name("validated"))
		if err != nil {
			return nil, err
		}
		return story.Seen{"created": created(responses[d.Name("validated")]), "listed": code(listed[d.Name("validated")].Err)}, nil
	})
	d.step("describe-topic", func(ctx context.Context) (story.Seen, error) { return d.described(ctx, d.Name("plain")) })
	d.step("describe-topic-unknown", func(ctx context.Context) (story.Seen, error) { return d.described(ctx, d.Name("nowhere")) })
	d.step("describe-topic-configs", func(ctx context.Context) (story.Seen, error) { return d.configs(ctx, "plain") })
	d.step("describe-topic-configs-unknown", func(ctx context.Context) (story.Seen, error) { return d.configs(ctx, "nowhere") })
	d.step("describe-topic-partitions", d.describeTopicPartitions)
	d.alterations()
	d.partitions()
	d.step("list-topics", func(ctx context.Context) (story.Seen, error) {
		topics, err := d.admin.ListTopics(ctx)
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		topics.EachPartition(func(p kadm.PartitionDetail) {
			if count, _ := seen[p.Topic].(int); strings.HasPrefix(p.Topic, d.Prefix()) {
				seen[p.Topic] = count + 1
			}
		})
		return story.Seen{"topics": seen}, nil
	})
}

// create makes a topic of this run and waits until it has leaders.
func (d *driver) create(ctx context.Context, partitions int32, replicas int16, configs map[string]*string, rest string) (story.Seen, error) {
	return d.createNamed(ctx, partitions, replicas, configs, d.Name(rest))
}

func (d *driver) createNamed(ctx context.Context, partitions int32, replicas int16, configs map[string]*string, topic string) (story.Seen, error) {
	responses, err := d.admin.CreateTopics(ctx, partitions, replicas, configs, topic)
	if err != nil {
		return nil, err
	}
	seen := created(responses[topic])
	if responses[topic].Err != nil {
		return seen, nil
	}
	return seen, d.led(ctx, topic, int(responses[topic].NumPartitions))
}

// led waits until a topic has so many partitions whose leaders know that they are.
func (d *driver) led(ctx context.Context, topic string, partitions int) error {
	return story.Settle(ctx, func() (bool, error) {
		topics, err := d.admin.ListTopics(ctx, topic)
		if err != nil || topics[topic].Err != nil || len(topics[topic].Partitions) != partitions {
			return false, err
		}
		listed, err := d.admin.ListEndOffsets(ctx, topic)
		return err == nil && listed.Error() == nil && len(listed[topic]) == partitions, nil
	})
}

func created(response kadm.CreateTopicResponse) story.Seen {
	seen := answer(response.Err, response.ErrMessage)
	seen["partitions"], seen["replicas"], seen["has_id"] = response.NumPartitions, response.ReplicationFactor, response.ID != kadm.TopicID{}
	set := []kadm.Config{}
	for _, config := range response.Configs {
		set = append(set, config)
	}
	seen["configs"] = ofTopic(set)
	return seen
}

// ofTopic keeps the configs that were set on the topic; what brokers default to is another matter.
func ofTopic(configs []kadm.Config) story.Seen {
	seen := story.Seen{}
	for _, config := range configs {
		if config.Source == kmsg.ConfigSourceDynamicTopicConfig {
			seen[config.Key] = config.MaybeValue()
		}
	}
	return seen
}

func (d *driver) described(ctx context.Context, topic string) (story.Seen, error) {
	topics, err := d.admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, err
	}
	detail := topics[topic]
	partitions := []story.Seen{}
	for _, p := range detail.Partitions.Sorted() {
		partitions = append(partitions, story.Seen{"partition": p.Partition, "error": code(p.Err), "led": p.Leader >= 0, "replicas": len(p.Replicas), "isr": len(p.ISR), "offline": len(p.OfflineReplicas)})
	}
	return story.Seen{"error": code(detail.Err), "internal": detail.IsInternal, "has_id": detail.ID != kadm.TopicID{}, "partitions": partitions}, nil
}

func (d *driver) configs(ctx context.Context, rest string) (story.Seen, error) {
	resources, err := d.admin.DescribeTopicConfigs(ctx, d.Name(rest))
	if err != nil {
		return nil, err
	}
	list := []story.Seen{}
	for _, resource := range resources {
		seen := answer(resource.Err, resource.ErrMessage)
		seen["set"] = ofTopic(resource.Configs)
		list = append(list, seen)
	}
	return story.Seen{"resources": list}, nil
}

// describeTopicPartitions pages through a topic, as Kafka's own admin client does; version 3.9 knows the request as well.
func (d *driver) describeTopicPartitions(ctx context.Context) (story.Seen, error) {
	request := kmsg.NewPtrDescribeTopicPartitionsRequest()
	request.ResponsePartitionLimit = 2
	for _, rest := range []string{"plain", "nowhere"} {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = d.Name(rest)
		request.Topics = append(request.Topics, topic)
	}
	pages := []story.Seen{}
	for len(pages) < 10 {
		response, err := request.RequestWith(ctx, d.client)
		if err != nil {
			return nil, err
		}
		page := story.Seen{}
		for _, topic := range response.Topics {
			var partitions []int32
			for _, partition := range topic.Partitions {
				partitions = append(partitions, partition.Partition)
			}
			page[*topic.Topic] = story.Seen{"error": code(kerr.ErrorForCode(topic.ErrorCode)), "partitions": partitions}
		}
		pages = append(pages, page)
		if response.NextCursor == nil {
			break
		}
		page["next"] = story.Seen{"topic": response.NextCursor.Topic, "partition": response.NextCursor.Partition}
		cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
		cursor.Topic, cursor.Partition = response.NextCursor.Topic, response.NextCursor.Partition
		request.Cursor = &cursor
	}
	return story.Seen{"pages": pages}, nil
}

func (d *driver) alterations() {
	d.step("alter-create", func(ctx context.Context) (story.Seen, error) { return d.create(ctx, 1, 1, keep, "altered") })
	// Each change with what the config is then expected to be, empty for unset: what to wait for.
	for _, change := range []struct {
		step string
		kadm.AlterConfig
		then string
	}{
		{"set", kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: pointer("86400000")}, "86400000"},
		{"append", kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: pointer("compact")}, "delete,compact"},
		{"append-again", kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: pointer("compact")}, "delete,compact"},
		{"subtract", kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: pointer("delete")}, "compact"},
		{"append-to-number", kadm.AlterConfig{Op: kadm.AppendConfig, Name: "retention.ms", Value: pointer("1")}, "86400000"},
		{"delete", kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}, ""},
		{"delete-unset", kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "segment.bytes"}, ""},
		{"unknown", kadm.AlterConfig{Op: kadm.SetConfig, Name: "no.such.config", Value: pointer("1")}, ""},
		{"wrong", kadm.AlterConfig{Op: kadm.SetConfig, Name: "cleanup.policy", Value: pointer("forget")}, "compact"},
		{"null", kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms"}, ""},
	} {
		d.step("alter-"+change.step, func(ctx context.Context) (story.Seen, error) {
			responses, err := d.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change.AlterConfig}, d.Name("altered"))
			return d.altered(ctx, responses, err, change.Name, change.then)
		})
	}
	d.step("alter-validate", func(ctx context.Context) (story.Seen, error) {
		responses, err := d.admin.ValidateAlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.bytes", Value: pointer("10000000")}}, d.Name("altered"))
		return d.altered(ctx, responses, err, "segment.bytes", "")
	})
	d.step("alter-state", func(ctx context.Context) (story.Seen, error) {
		responses, err := d.admin.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: pointer("50000")}}, d.Name("altered"))
		return d.altered(ctx, responses, err, "max.message.bytes", "50000")
	})
	d.step("alter-unknown-topic", func(ctx context.Context) (story.Seen, error) {
		responses, err := d.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: pointer("1")}}, d.Name("nowhere"))
		if err != nil {
			return nil, err
		}
		return answer(responses[0].Err, responses[0].ErrMessage), nil
	})
	d.step("describe-broker-configs", func(ctx context.Context) (story.Seen, error) {
		metadata, err := d.admin.BrokerMetadata(ctx)
		if err != nil {
			return nil, err
		}
		resources, err := d.admin.DescribeBrokerConfigs(ctx, metadata.Brokers[0].NodeID)
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for _, config := range resources[0].Configs {
			if slices.Contains([]string{"message.max.bytes", "num.partitions", "auto.create.topics.enable", "offset.metadata.max.bytes", "group.initial.rebalance.delay.ms"}, config.Key) {
				seen[config.Key] = story.Seen{"value": config.MaybeValue(), "source": config.Source.String(), "sensitive": config.Sensitive}
			}
		}
		return story.Seen{"error": code(resources[0].Err), "configs": seen}, nil
	})
}

// altered shows the answer and what is set on the topic once `key` is `then`: the controller answers, and the broker that
// describes learns of the change a moment later.
func (d *driver) altered(ctx context.Context, responses kadm.AlterConfigsResponses, err error, key, then string) (story.Seen, error) {
	if err != nil {
		return nil, err
	}
	seen := answer(responses[0].Err, responses[0].ErrMessage)
	patience, cancel := context.WithTimeout(ctx, limit/3)
	defer cancel()
	err = story.Settle(patience, func() (bool, error) {
		resources, err := d.admin.DescribeTopicConfigs(patience, d.Name("altered"))
		if err != nil {
			return false, err
		}
		set := ofTopic(resources[0].Configs)
		seen["set"] = set
		now, _ := set[key].(string)
		return now == then, nil
	})
	if patience.Err() != nil {
		err = ctx.Err()
	}
	return seen, err
}

func (d *driver) partitions() {
	d.step("partitions-create", func(ctx context.Context) (story.Seen, error) { return d.create(ctx, 2, 1, keep, "growing") })
	for _, change := range []struct {
		step, rest string
		to         int
	}{{"add", "growing", 4}, {"same", "growing", 4}, {"reduce", "growing", 1}, {"unknown-topic", "nowhere", 4}} {
		d.step("partitions-"+change.step, func(ctx context.Context) (story.Seen, error) {
			// kadm's UpdatePartitions refuses what is not more by itself; the broker is to be asked.
			request := kmsg.NewPtrCreatePartitionsRequest()
			request.TimeoutMillis = 10_000
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = d.Name(change.rest), int32(change.to)
			request.Topics = append(request.Topics, topic)
			response, err := request.RequestWith(ctx, d.client)
			if err != nil {
				return nil, err
			}
			message := ""
			if response.Topics[0].ErrorMessage != nil {
				message = *response.Topics[0].ErrorMessage
			}
			failure := kerr.ErrorForCode(response.Topics[0].ErrorCode)
			if failure == nil {
				err = d.led(ctx, d.Name(change.rest), change.to)
			}
			return answer(failure, message), err
		})
	}
	d.step("describe-topic-grown", func(ctx context.Context) (story.Seen, error) { return d.described(ctx, d.Name("growing")) })
	d.step("list-reassignments", func(ctx context.Context) (story.Seen, error) {
		set := kadm.TopicsSet{}
		set.Add(d.Name("growing"), 0, 1)
		responses, err := d.admin.ListPartitionReassignments(ctx, set)
		return story.Seen{"error": code(err), "reassignments": len(responses)}, nil
	})
}
