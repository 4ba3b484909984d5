package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"headwater/clients/oracle/go/story"
)

// groups tells of a group that reads "queue", ten messages, by one member after the other, and of members that come and go.
func (d *driver) groups() {
	d.step("group-prepare", func(ctx context.Context) (story.Seen, error) {
		created, err := d.create(ctx, kafka.TopicConfig{Topic: d.Name("shared"), NumPartitions: 4, ReplicationFactor: 1, ConfigEntries: keep})
		if err != nil {
			return nil, err
		}
		// The first group of a cluster finds no coordinator until the topic of offsets is there and read.
		return created, story.Settle(ctx, func() (bool, error) {
			group, err := d.group(ctx, "readers")
			return err == nil && group["error"] == nil, nil
		})
	})
	d.step("group-describe-unknown", func(ctx context.Context) (story.Seen, error) { return d.group(ctx, "readers") })
	d.step("group-offsets-unknown", func(ctx context.Context) (story.Seen, error) { return d.committed(ctx, "readers") })
	d.step("group-delete-unknown", func(ctx context.Context) (story.Seen, error) { return d.deleteGroup(ctx, "readers") })
	d.step("group-first-half", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.member(ctx, "readers", 5, func(seen story.Seen) error {
			var err error
			if seen["during"], err = d.group(ctx, "readers"); err != nil {
				return err
			}
			if seen["delete_during"], err = d.deleteGroup(ctx, "readers"); err != nil {
				return err
			}
			seen["alter_during"], err = d.commit(ctx, "readers", 1)
			return err
		})
		return seen, err
	})
	d.step("group-empty", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		return d.group(ctx, "readers")
	})
	d.step("group-offsets", func(ctx context.Context) (story.Seen, error) { return d.committed(ctx, "readers") })
	d.step("group-second-half", func(ctx context.Context) (story.Seen, error) {
		return d.member(ctx, "readers", 5, func(story.Seen) error { return nil })
	})
	d.step("group-list", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		response, err := d.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for _, group := range response.Groups {
			if strings.HasPrefix(group.GroupID, d.Prefix()) {
				seen[group.GroupID] = group.ProtocolType
			}
		}
		return story.Seen{"groups": seen, "error": code(response.Error)}, nil
	})
	d.step("group-alter-offsets", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.commit(ctx, "readers", 3)
		if err != nil {
			return nil, err
		}
		seen["then"], err = d.committed(ctx, "readers")
		return seen, err
	})
	d.step("group-delete-offsets", func(ctx context.Context) (story.Seen, error) {
		response, err := d.client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: d.Name("readers"), Topics: map[string][]int{d.Name("queue"): {0, 9}}})
		if err != nil {
			return nil, err
		}
		seen := story.Seen{"error": code(response.Error)}
		for _, partition := range response.Topics[d.Name("queue")] {
			seen["partition-"+string(rune('0'+partition.Partition))] = code(partition.Error)
		}
		seen["then"], err = d.committed(ctx, "readers")
		return seen, err
	})
	for _, balancer := range []kafka.GroupBalancer{kafka.RangeGroupBalancer{}, kafka.RoundRobinGroupBalancer{}} {
		d.step("rebalance-"+balancer.ProtocolName(), func(ctx context.Context) (story.Seen, error) { return d.rebalance(ctx, balancer) })
	}
}

// member reads and commits so many messages as a member, and looks around before it leaves.
func (d *driver) member(ctx context.Context, group string, count int, look func(story.Seen) error) (story.Seen, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{d.Bootstrap}, Dialer: &kafka.Dialer{ClientID: "oracle", Timeout: limit}, GroupID: d.Name(group), Topic: d.Name("queue"), StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond, HeartbeatInterval: 100 * time.Millisecond, JoinGroupBackoff: 200 * time.Millisecond,
	})
	defer reader.Close()
	messages := []kafka.Message{}
	for len(messages) < count {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return shown(messages), err
		}
		messages = append(messages, message)
	}
	seen := shown(messages)
	seen["committed"] = code(reader.CommitMessages(ctx, messages...))
	return seen, look(seen)
}

func (d *driver) group(ctx context.Context, rest string) (story.Seen, error) {
	response, err := d.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{d.Name(rest)}})
	if err != nil {
		return nil, err
	}
	group := response.Groups[0]
	members := []story.Seen{}
	for _, member := range group.Members {
		assigned := story.Seen{}
		for _, topic := range member.MemberAssignments.Topics {
			assigned[topic.Topic] = len(topic.Partitions)
		}
		members = append(members, story.Seen{"assigned": assigned, "topics": member.MemberMetadata.Topics})
	}
	return story.Seen{"error": code(group.Error), "state": group.GroupState, "members": members}, nil
}

// emptied waits until a group has no members.
func (d *driver) emptied(ctx context.Context, rest string) error {
	return story.Settle(ctx, func() (bool, error) {
		response, err := d.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{d.Name(rest)}})
		return err == nil && response.Groups[0].GroupState != "Stable" && len(response.Groups[0].Members) == 0, err
	})
}

func (d *driver) committed(ctx context.Context, rest string) (story.Seen, error) {
	response, err := d.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: d.Name(rest), Topics: map[string][]int{d.Name("queue"): {0, 9}}})
	if err != nil {
		return nil, err
	}
	offsets := map[int]story.Seen{}
	for _, partition := range response.Topics[d.Name("queue")] {
		offsets[partition.Partition] = story.Seen{"offset": partition.CommittedOffset, "metadata": partition.Metadata, "error": code(partition.Error)}
	}
	return story.Seen{"error": code(response.Error), "offsets": offsets}, nil
}

// commit commits as nobody's member.
func (d *driver) commit(ctx context.Context, rest string, offset int64) (story.Seen, error) {
	response, err := d.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: d.Name(rest), GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{d.Name("queue"): {{Partition: 0, Offset: offset, Metadata: "altered"}, {Partition: 9, Offset: offset}}},
	})
	if err != nil {
		return nil, err
	}
	commits := map[int]any{}
	for _, partition := range response.Topics[d.Name("queue")] {
		commits[partition.Partition] = code(partition.Error)
	}
	return story.Seen{"commits": commits}, nil
}

func (d *driver) deleteGroup(ctx context.Context, rest string) (story.Seen, error) {
	response, err := d.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{d.Name(rest)}})
	if err != nil {
		return nil, err
	}
	return story.Seen{"error": code(response.Errors[d.Name(rest)])}, nil
}

// claimant is a member that only holds partitions.
type claimant struct {
	group *kafka.ConsumerGroup
	stop  context.CancelFunc
	ended chan struct{}
	mutex sync.Mutex
	held  []int
}

func (d *driver) claim(group string, balancer kafka.GroupBalancer) (*claimant, error) {
	made, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: d.Name(group), Brokers: []string{d.Bootstrap}, Topics: []string{d.Name("shared")}, GroupBalancers: []kafka.GroupBalancer{balancer},
		HeartbeatInterval: 100 * time.Millisecond, JoinGroupBackoff: 200 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &claimant{group: made, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for ctx.Err() == nil {
			generation, err := made.Next(ctx)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				continue
			}
			c.hold(generation.Assignments[d.Name("shared")])
			generation.Start(func(ctx context.Context) {
				<-ctx.Done()
				c.hold(nil)
			})
		}
	}()
	return c, nil
}

func (c *claimant) hold(assigned []kafka.PartitionAssignment) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.held = nil
	for _, partition := range assigned {
		c.held = append(c.held, partition.ID)
	}
	slices.Sort(c.held)
}

func (c *claimant) holds() []int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return slices.Clone(c.held)
}

func (c *claimant) leave() error {
	c.stop()
	<-c.ended
	return c.group.Close()
}

func (d *driver) rebalance(ctx context.Context, balancer kafka.GroupBalancer) (story.Seen, error) {
	group, seen := "by-"+balancer.ProtocolName(), story.Seen{}
	first, err := d.claim(group, balancer)
	if err != nil {
		return nil, err
	}
	defer first.leave()
	if err := story.Settle(ctx, func() (bool, error) { return len(first.holds()) == 4, nil }); err != nil {
		return seen, err
	}
	seen["alone"] = first.holds()
	second, err := d.claim(group, balancer)
	if err != nil {
		return seen, err
	}
	defer second.leave()
	if err := story.Settle(ctx, func() (bool, error) { return len(first.holds()) == 2 && len(second.holds()) == 2, nil }); err != nil {
		return seen, err
	}
	together := append(first.holds(), second.holds()...)
	slices.Sort(together)
	seen["together"] = together
	if seen["group"], err = d.group(ctx, group); err != nil {
		return seen, err
	}
	if err := first.leave(); err != nil {
		return seen, err
	}
	if err := story.Settle(ctx, func() (bool, error) { return len(second.holds()) == 4, nil }); err != nil {
		return seen, err
	}
	seen["left"] = second.holds()
	return seen, nil
}

// deletions come last.
func (d *driver) deletions() {
	d.step("group-delete", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		seen, err := d.deleteGroup(ctx, "readers")
		if err != nil {
			return nil, err
		}
		seen["then"], err = d.group(ctx, "readers")
		return seen, err
	})
	for _, rest := range []string{"plain", "nowhere"} {
		d.step("delete-topic-"+rest, func(ctx context.Context) (story.Seen, error) {
			response, err := d.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{d.Name(rest)}})
			if err != nil {
				return nil, err
			}
			seen := story.Seen{"error": code(response.Errors[d.Name(rest)])}
			return seen, story.Settle(ctx, func() (bool, error) {
				then, err := d.described(ctx, d.Name(rest))
				seen["then"] = then
				return err != nil || then["error"] != nil, err
			})
		})
	}
}
