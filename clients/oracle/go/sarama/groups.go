package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/sarama"

	"headwater/clients/oracle/go/story"
)

// groups tells of a group that reads a topic of one partition, ten messages, by one member after the other, and of
// groups whose members come and go.
func (d *driver) groups() {
	d.step("group-prepare", func(ctx context.Context) (story.Seen, error) {
		if err := errors.Join(d.create(ctx, "queue", 1, keep), d.create(ctx, "shared", 4, keep)); err != nil {
			return nil, err
		}
		var messages []*sarama.ProducerMessage
		for i := range 10 {
			messages = append(messages, &sarama.ProducerMessage{Topic: d.Name("queue"), Value: sarama.ByteEncoder{byte('0' + i)}, Timestamp: time.UnixMilli(story.Epoch + int64(i))})
		}
		// The first group of a cluster finds no coordinator until the topic of offsets is there and read.
		err := story.Settle(ctx, func() (bool, error) {
			if err := d.client.RefreshCoordinator(d.Name("readers")); err != nil {
				return false, nil
			}
			group, err := d.group("readers")
			return err == nil && group["error"] == nil, nil
		})
		if err != nil {
			return nil, err
		}
		return d.send(messages, func(*sarama.Config) {})
	})
	d.step("group-describe-unknown", func(ctx context.Context) (story.Seen, error) { return d.group("readers") })
	d.step("group-offsets-unknown", func(ctx context.Context) (story.Seen, error) { return d.committed("readers") })
	d.step("group-delete-unknown", func(ctx context.Context) (story.Seen, error) {
		return story.Seen{"error": code(d.admin.DeleteConsumerGroup(d.Name("readers")))}, nil
	})
	d.step("group-first-half", func(ctx context.Context) (story.Seen, error) {
		member := d.join("readers", "queue", 5, sarama.BalanceStrategyRange)
		defer member.leave()
		if err := story.Settle(ctx, func() (bool, error) { return member.done() }); err != nil {
			return nil, err
		}
		seen := shown(member.read())
		var err error
		if seen["during"], err = d.group("readers"); err != nil {
			return seen, err
		}
		seen["delete_during"] = code(d.admin.DeleteConsumerGroup(d.Name("readers")))
		return seen, nil
	})
	d.step("group-empty", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		return d.group("readers")
	})
	d.step("group-offsets", func(ctx context.Context) (story.Seen, error) { return d.committed("readers") })
	d.step("group-second-half", func(ctx context.Context) (story.Seen, error) {
		member := d.join("readers", "queue", 5, sarama.BalanceStrategyRange)
		defer member.leave()
		err := story.Settle(ctx, func() (bool, error) { return member.done() })
		return shown(member.read()), err
	})
	d.step("group-list", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		groups, err := d.admin.ListConsumerGroups()
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for name, kind := range groups {
			if strings.HasPrefix(name, d.Prefix()) {
				seen[name] = kind
			}
		}
		return story.Seen{"groups": seen}, nil
	})
	d.step("group-offsets-by-manager", func(ctx context.Context) (story.Seen, error) {
		manager, err := sarama.NewOffsetManagerFromClient(d.Name("readers"), d.client)
		if err != nil {
			return nil, err
		}
		partition, err := manager.ManagePartition(d.Name("queue"), 0)
		if err != nil {
			return story.Seen{"error": code(err)}, nil
		}
		at, metadata := partition.NextOffset()
		partition.ResetOffset(3, "back")
		manager.Commit()
		seen := story.Seen{"found": at, "metadata": metadata}
		select {
		case failure := <-partition.Errors():
			seen["failure"] = code(failure)
		default:
		}
		partition.AsyncClose()
		if err := manager.Close(); err != nil {
			return seen, err
		}
		seen["then"], err = d.committed("readers")
		return seen, err
	})
	for _, strategy := range []sarama.BalanceStrategy{sarama.BalanceStrategyRange, sarama.BalanceStrategyRoundRobin, sarama.BalanceStrategySticky} {
		d.step("rebalance-"+strategy.Name(), func(ctx context.Context) (story.Seen, error) {
			return d.rebalance(ctx, "by-"+strategy.Name(), strategy)
		})
	}
}

func (d *driver) rebalance(ctx context.Context, group string, strategy sarama.BalanceStrategy) (story.Seen, error) {
	seen := story.Seen{}
	first := d.join(group, "shared", 0, strategy)
	defer first.leave()
	if err := story.Settle(ctx, func() (bool, error) { return len(first.claimed()) == 4, nil }); err != nil {
		return seen, err
	}
	seen["alone"] = first.claimed()
	second := d.join(group, "shared", 0, strategy)
	defer second.leave()
	if err := story.Settle(ctx, func() (bool, error) { return len(first.claimed()) == 2 && len(second.claimed()) == 2, nil }); err != nil {
		return seen, err
	}
	together := append(first.claimed(), second.claimed()...)
	slices.Sort(together)
	seen["together"] = together
	var err error
	if seen["group"], err = d.group(group); err != nil {
		return seen, err
	}
	first.leave()
	if err := story.Settle(ctx, func() (bool, error) { return len(second.claimed()) == 4, nil }); err != nil {
		return seen, err
	}
	seen["left"] = second.claimed()
	return seen, nil
}

func (d *driver) group(rest string) (story.Seen, error) {
	groups, err := d.admin.DescribeConsumerGroups([]string{d.Name(rest)})
	if err != nil {
		return nil, err
	}
	members := []story.Seen{}
	for _, member := range groups[0].Members {
		assigned := story.Seen{}
		if assignment, err := member.GetMemberAssignment(); err == nil {
			for topic, partitions := range assignment.Topics {
				assigned[topic] = len(partitions)
			}
		}
		members = append(members, story.Seen{"client_id": member.ClientId, "assigned": assigned})
	}
	return story.Seen{"error": code(groups[0].Err), "state": groups[0].State, "type": groups[0].ProtocolType, "protocol": groups[0].Protocol, "members": members}, nil
}

// emptied waits until a group has no members.
func (d *driver) emptied(ctx context.Context, rest string) error {
	return story.Settle(ctx, func() (bool, error) {
		groups, err := d.admin.DescribeConsumerGroups([]string{d.Name(rest)})
		return err == nil && groups[0].State != "Stable" && len(groups[0].Members) == 0, err
	})
}

func (d *driver) committed(rest string) (story.Seen, error) {
	response, err := d.admin.ListConsumerGroupOffsets(d.Name(rest), map[string][]int32{d.Name("queue"): {0, 9}})
	if err != nil {
		return nil, err
	}
	seen := story.Seen{"error": code(response.Err)}
	for _, partition := range []int32{0, 9} {
		if block := response.GetBlock(d.Name("queue"), partition); block != nil {
			seen[fmt.Sprint(partition)] = story.Seen{"offset": block.Offset, "metadata": block.Metadata, "error": code(block.Err)}
		}
	}
	return seen, nil
}

// member is a member of a group, which reads so many messages and commits them.
type member struct {
	group    sarama.ConsumerGroup
	stop     context.CancelFunc
	ended    chan struct{}
	once     sync.Once
	wanted   int
	mutex    sync.Mutex
	claims   []int32
	messages []*sarama.ConsumerMessage
	marked   bool
	failure  error
	topic    string
}

func (d *driver) join(group, topic string, wanted int, strategy sarama.BalanceStrategy) *member {
	ctx, stop := context.WithCancel(context.Background())
	m := &member{stop: stop, ended: make(chan struct{}), wanted: wanted, topic: d.Name(topic)}
	config := d.config()
	config.Consumer.Group.Rebalance.Strategy = strategy
	go func() {
		defer close(m.ended)
		group, err := sarama.NewConsumerGroup([]string{d.Bootstrap}, d.Name(group), config)
		for err == nil && ctx.Err() == nil {
			err = group.Consume(ctx, []string{m.topic}, m)
		}
		if group != nil {
			err = errors.Join(err, group.Close())
		}
		m.mutex.Lock()
		defer m.mutex.Unlock()
		m.failure = err
	}()
	return m
}

func (m *member) leave() {
	m.once.Do(m.stop)
	<-m.ended
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.claims = slices.Clone(session.Claims()[m.topic])
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.claims = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		if m.take(message) {
			session.MarkMessage(message, "read")
			if count := len(m.read()); count == m.wanted {
				session.Commit()
				m.mutex.Lock()
				m.marked = true
				m.mutex.Unlock()
			}
		}
	}
	return nil
}

func (m *member) take(message *sarama.ConsumerMessage) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.messages) == m.wanted {
		return false
	}
	m.messages = append(m.messages, message)
	return true
}

func (m *member) done() (bool, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.marked, m.failure
}

func (m *member) read() []*sarama.ConsumerMessage {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.messages)
}

func (m *member) claimed() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	claims := slices.Clone(m.claims)
	slices.Sort(claims)
	return claims
}

// deletions come last.
func (d *driver) deletions() {
	d.step("group-delete", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		seen := story.Seen{"error": code(d.admin.DeleteConsumerGroup(d.Name("readers")))}
		then, err := d.group("readers")
		seen["then"] = then
		return seen, err
	})
	for _, rest := range []string{"plain", "nowhere"} {
		d.step("delete-topic-"+rest, func(ctx context.Context) (story.Seen, error) {
			seen := story.Seen{"error": code(d.admin.DeleteTopic(d.Name(rest)))}
			return seen, story.Settle(ctx, func() (bool, error) {
				then, err := d.described(rest)
				seen["then"] = then
				return err != nil || then["error"] != nil, err
			})
		})
	}
}
