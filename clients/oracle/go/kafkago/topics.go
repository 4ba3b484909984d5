package main

import (
	"context"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"

	"headwater/clients/oracle/go/story"
)

// keep lets records with old timestamps live.
var keep = []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "-1"}}

func (d *driver) topics() {
	d.step("cluster", func(ctx context.Context) (story.Seen, error) {
		metadata, err := d.metadata(ctx)
		if err != nil {
			return nil, err
		}
		return story.Seen{"brokers": len(metadata.Brokers), "controller_known": metadata.Controller.ID == metadata.Brokers[0].ID, "cluster_id": metadata.ClusterID != ""}, nil
	})
	for _, topic := range []struct {
		step   string
		config kafka.TopicConfig
	}{
		{"plain", kafka.TopicConfig{Topic: d.Name("plain"), NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: keep}},
		{"existing", kafka.TopicConfig{Topic: d.Name("plain"), NumPartitions: 1, ReplicationFactor: 1}},
		{"invalid-name", kafka.TopicConfig{Topic: d.Name("a:b"), NumPartitions: 1, ReplicationFactor: 1}},
		{"no-partitions", kafka.TopicConfig{Topic: d.Name("none"), NumPartitions: 0, ReplicationFactor: 1}},
		{"defaults", kafka.TopicConfig{Topic: d.Name("defaults"), NumPartitions: -1, ReplicationFactor: -1}},
		{"wrong-config", kafka.TopicConfig{Topic: d.Name("config"), NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "forget"}}}},
	} {
		d.step("create-topic-"+topic.step, func(ctx context.Context) (story.Seen, error) { return d.create(ctx, topic.config) })
	}
	for _, rest := range []string{"plain", "nowhere"} {
		d.step("describe-topic-"+rest, func(ctx context.Context) (story.Seen, error) { return d.described(ctx, d.Name(rest)) })
		d.step("describe-configs-"+rest, func(ctx context.Context) (story.Seen, error) { return d.configs(ctx, rest) })
	}
	for _, change := range []struct {
		step   string
		config kafka.IncrementalAlterConfigsRequestConfig
		then   string
	}{
		{"set", kafka.IncrementalAlterConfigsRequestConfig{Name: "segment.bytes", Value: "10000000", ConfigOperation: kafka.ConfigOperationSet}, "10000000"},
		{"append", kafka.IncrementalAlterConfigsRequestConfig{Name: "cleanup.policy", Value: "compact", ConfigOperation: kafka.ConfigOperationAppend}, "delete,compact"},
		{"delete", kafka.IncrementalAlterConfigsRequestConfig{Name: "cleanup.policy", ConfigOperation: kafka.ConfigOperationDelete}, ""},
		{"wrong", kafka.IncrementalAlterConfigsRequestConfig{Name: "segment.bytes", Value: "many", ConfigOperation: kafka.ConfigOperationSet}, "10000000"},
	} {
		d.step("alter-configs-"+change.step, func(ctx context.Context) (story.Seen, error) {
			response, err := d.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: d.Name("plain"), Configs: []kafka.IncrementalAlterConfigsRequestConfig{change.config},
			}}})
			if err != nil {
				return nil, err
			}
			seen := story.Seen{"error": code(response.Resources[0].Error)}
			// The controller answers; the broker that describes learns of it a moment later.
			return seen, story.Settle(ctx, func() (bool, error) {
				then, err := d.configs(ctx, "plain")
				if err != nil {
					return false, err
				}
				seen["set"] = then["set"]
				now, _ := then["set"].(story.Seen)[change.config.Name].(string)
				return now == change.then, nil
			})
		})
	}
	for _, growth := range []struct {
		step, rest string
		to         int
	}{{"add", "defaults", 3}, {"reduce", "defaults", 1}, {"unknown-topic", "nowhere", 2}} {
		d.step("partitions-"+growth.step, func(ctx context.Context) (story.Seen, error) {
			response, err := d.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: d.Name(growth.rest), Count: int32(growth.to)}}})
			if err != nil {
				return nil, err
			}
			failure := response.Errors[d.Name(growth.rest)]
			if failure != nil {
				return story.Seen{"error": code(failure)}, nil
			}
			return story.Seen{"error": nil}, d.led(ctx, d.Name(growth.rest), growth.to)
		})
	}
	d.step("list-topics", func(ctx context.Context) (story.Seen, error) {
		metadata, err := d.metadata(ctx)
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for _, topic := range metadata.Topics {
			if strings.HasPrefix(topic.Name, d.Prefix()) {
				seen[topic.Name] = len(topic.Partitions)
			}
		}
		return story.Seen{"topics": seen}, nil
	})
}

func (d *driver) create(ctx context.Context, config kafka.TopicConfig) (story.Seen, error) {
	response, err := d.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return nil, err
	}
	if failure := response.Errors[config.Topic]; failure != nil {
		return story.Seen{"error": code(failure)}, nil
	}
	return story.Seen{"error": nil}, d.led(ctx, config.Topic, max(1, config.NumPartitions))
}

// metadata asks until a broker has told it in time.
func (d *driver) metadata(ctx context.Context, topics ...string) (*kafka.MetadataResponse, error) {
	var metadata *kafka.MetadataResponse
	err := story.Settle(ctx, func() (told bool, err error) {
		metadata, err = d.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		return err == nil, nil
	})
	return metadata, err
}

// led waits until a topic has so many partitions whose leaders know that they are.
func (d *driver) led(ctx context.Context, topic string, partitions int) error {
	return story.Settle(ctx, func() (bool, error) {
		metadata, err := d.metadata(ctx, topic)
		if err != nil || metadata.Topics[0].Error != nil || len(metadata.Topics[0].Partitions) != partitions {
			return false, err
		}
		var asked []kafka.OffsetRequest
		for partition := range partitions {
			asked = append(asked, kafka.LastOffsetOf(partition))
		}
		listed, err := d.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
		return err == nil && !slices.ContainsFunc(listed.Topics[topic], func(p kafka.PartitionOffsets) bool { return p.Error != nil }), nil
	})
}

func (d *driver) described(ctx context.Context, topic string) (story.Seen, error) {
	metadata, err := d.metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	partitions := map[int]story.Seen{}
	for _, p := range metadata.Topics[0].Partitions {
		partitions[p.ID] = story.Seen{"error": code(p.Error), "replicas": len(p.Replicas), "isr": len(p.Isr), "offline": len(p.OfflineReplicas)}
	}
	return story.Seen{"error": code(metadata.Topics[0].Error), "internal": metadata.Topics[0].Internal, "partitions": partitions}, nil
}

func (d *driver) configs(ctx context.Context, rest string) (story.Seen, error) {
	response, err := d.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: d.Name(rest)}}, IncludeDocumentation: true})
	if err != nil {
		return nil, err
	}
	set := story.Seen{}
	for _, entry := range response.Resources[0].ConfigEntries {
		// 1 is a config of the topic itself.
		if entry.ConfigSource == 1 {
			set[entry.ConfigName] = entry.ConfigValue
		}
	}
	return story.Seen{"error": code(response.Resources[0].Error), "set": set}, nil
}
