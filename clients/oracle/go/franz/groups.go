package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"headwater/clients/oracle/go/story"
)

// groups tells of one group that reads a topic of one partition, ten records, by one member after the other.
func (d *driver) groups() {
	d.step("group-prepare", func(ctx context.Context) (story.Seen, error) {
		if _, err := d.create(ctx, 1, 1, keep, "queue"); err != nil {
			return nil, err
		}
		// The first group of a cluster finds no coordinator until the topic of offsets is there and read.
		err := story.Settle(ctx, func() (bool, error) {
			groups, err := d.admin.DescribeGroups(ctx, d.Name("readers"))
			described := groups[d.Name("readers")].Err
			return err == nil && (described == nil || errors.Is(described, kerr.GroupIDNotFound)), nil
		})
		if err != nil {
			return nil, err
		}
		client := d.open()
		defer client.Close()
		var records []*kgo.Record
		for i := range 10 {
			records = append(records, &kgo.Record{Topic: d.Name("queue"), Value: []byte{byte('0' + i)}, Timestamp: time.UnixMilli(story.Epoch + int64(i))})
		}
		return produced(client.ProduceSync(ctx, records...), true), nil
	})
	d.step("group-describe-unknown", func(ctx context.Context) (story.Seen, error) { return d.group(ctx, "readers") })
	d.step("group-offsets-unknown", func(ctx context.Context) (story.Seen, error) { return d.committed(ctx, "readers") })
	d.step("group-delete-unknown", func(ctx context.Context) (story.Seen, error) { return d.deleteGroup(ctx, "readers") })
	d.step("group-first-half", func(ctx context.Context) (story.Seen, error) {
		member := d.member("readers", kgo.ConsumeTopics(d.Name("queue")))
		defer member.Close()
		first, err := poll(ctx, member, 3)
		if err != nil {
			return nil, err
		}
		if err := member.CommitRecords(ctx, first...); err != nil {
			return nil, err
		}
		second, err := poll(ctx, member, 2)
		if err != nil {
			return nil, err
		}
		done := make(chan any, 1)
		annotated := kgo.PreCommitFnContext(ctx, func(request *kmsg.OffsetCommitRequest) error {
			for t := range request.Topics {
				for p := range request.Topics[t].Partitions {
					request.Topics[t].Partitions[p].Metadata = pointer("half")
				}
			}
			return nil
		})
		member.CommitOffsets(annotated, member.UncommittedOffsets(), func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err == nil {
				err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
			}
			done <- code(err)
		})
		seen := shown(append(first, second...))
		select {
		case seen["committed"] = <-done:
		case <-ctx.Done():
			return seen, ctx.Err()
		}
		during, err := d.group(ctx, "readers")
		seen["during"] = during
		if err == nil {
			seen["delete_during"], err = d.deleteGroup(ctx, "readers")
		}
		if err == nil {
			seen["alter_during"], err = d.alterOffsets(ctx, "readers", "queue", 0, 1)
		}
		if err == nil {
			seen["delete_offsets_during"], err = d.deleteOffsets(ctx, "readers", "queue", 0)
		}
		return seen, err
	})
	d.step("group-empty", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		return d.group(ctx, "readers")
	})
	d.step("group-offsets", func(ctx context.Context) (story.Seen, error) { return d.committed(ctx, "readers") })
	d.step("group-lag", func(ctx context.Context) (story.Seen, error) { return d.lag(ctx, "readers") })
	d.step("group-second-half", func(ctx context.Context) (story.Seen, error) {
		member := d.member("readers", kgo.ConsumeTopics(d.Name("queue")))
		defer member.Close()
		records, err := poll(ctx, member, 5)
		if err == nil {
			err = member.CommitRecords(ctx, records...)
		}
		return shown(records), err
	})
	d.step("group-offsets-after", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		return d.committed(ctx, "readers")
	})
	d.step("group-list", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListGroups(ctx)
		if err != nil {
			return nil, err
		}
		seen := story.Seen{}
		for name, group := range listed {
			if strings.HasPrefix(name, d.Prefix()) {
				seen[name] = story.Seen{"state": group.State, "type": group.ProtocolType}
			}
		}
		return story.Seen{"groups": seen}, nil
	})
	d.step("group-list-by-state", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListGroups(ctx, "Stable")
		if err != nil {
			return nil, err
		}
		_, found := listed[d.Name("readers")]
		return story.Seen{"found": found}, nil
	})
	d.step("group-alter-offsets", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.alterOffsets(ctx, "readers", "queue", 0, 7)
		if err != nil {
			return nil, err
		}
		seen["then"], err = d.committed(ctx, "readers")
		return seen, err
	})
	d.step("group-alter-offsets-unknown-partition", func(ctx context.Context) (story.Seen, error) {
		return d.alterOffsets(ctx, "readers", "queue", 9, 7)
	})
	d.step("group-alter-offsets-long-metadata", func(ctx context.Context) (story.Seen, error) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: d.Name("queue"), Partition: 0, At: 8, LeaderEpoch: -1, Metadata: string(story.Text(5000))})
		responses, err := d.admin.CommitOffsets(ctx, d.Name("readers"), offsets)
		if err != nil {
			return nil, err
		}
		return story.Seen{"error": code(responses[d.Name("queue")][0].Err)}, nil
	})
	d.step("group-resumes-there", func(ctx context.Context) (story.Seen, error) {
		member := d.member("readers", kgo.ConsumeTopics(d.Name("queue")))
		defer member.Close()
		records, err := poll(ctx, member, 3)
		return shown(records), err
	})
	d.step("group-delete-offsets", func(ctx context.Context) (story.Seen, error) {
		if err := d.emptied(ctx, "readers"); err != nil {
			return nil, err
		}
		seen, err := d.deleteOffsets(ctx, "readers", "queue", 0)
		if err != nil {
			return nil, err
		}
		seen["then"], err = d.committed(ctx, "readers")
		return seen, err
	})
	d.step("group-offsets-without-members", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.alterOffsets(ctx, "offsets-only", "queue", 0, 5)
		if err != nil {
			return nil, err
		}
		seen["then"], err = d.committed(ctx, "offsets-only")
		if err == nil {
			seen["group"], err = d.group(ctx, "offsets-only")
		}
		return seen, err
	})
	d.step("group-leave-unknown-member", func(ctx context.Context) (story.Seen, error) {
		responses, err := d.admin.LeaveGroup(ctx, kadm.LeaveGroup(d.Name("readers")).InstanceIDs("nobody"))
		if err != nil {
			return story.Seen{"error": code(err)}, nil
		}
		return story.Seen{"error": code(responses["nobody"].Err)}, nil
	})
}

func (d *driver) member(group string, options ...kgo.Opt) *kgo.Client {
	common := []kgo.Opt{
		kgo.ConsumerGroup(d.Name(group)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(100 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
	}
	return d.open(append(common, options...)...)
}

// group shows what a coordinator tells of a group.
func (d *driver) group(ctx context.Context, rest string) (story.Seen, error) {
	groups, err := d.admin.DescribeGroups(ctx, d.Name(rest))
	if err != nil {
		return nil, err
	}
	group := groups[d.Name(rest)]
	seen := answer(group.Err, group.ErrMessage)
	members := []story.Seen{}
	for _, member := range group.Members {
		assigned := story.Seen{}
		if consumer, ok := member.Assigned.AsConsumer(); ok {
			for _, topic := range consumer.Topics {
				assigned[topic.Topic] = len(topic.Partitions)
			}
		}
		members = append(members, story.Seen{"client_id": member.ClientID, "instance": member.InstanceID, "assigned": assigned})
	}
	seen["state"], seen["type"], seen["protocol"], seen["members"] = group.State, group.ProtocolType, group.Protocol, members
	return seen, nil
}

// emptied waits until a group has no members: a client that closes does not wait for the answer of its leaving.
func (d *driver) emptied(ctx context.Context, rest string) error {
	return story.Settle(ctx, func() (bool, error) {
		groups, err := d.admin.DescribeGroups(ctx, d.Name(rest))
		return groups[d.Name(rest)].State != "Stable" && len(groups[d.Name(rest)].Members) == 0, err
	})
}

func (d *driver) committed(ctx context.Context, rest string) (story.Seen, error) {
	offsets, err := d.admin.FetchOffsets(ctx, d.Name(rest))
	if err != nil {
		return story.Seen{"error": code(err)}, nil
	}
	list := []story.Seen{}
	for _, offset := range offsets.Sorted() {
		seen := story.Seen{"topic": offset.Topic, "partition": offset.Partition, "offset": offset.At, "error": code(offset.Err)}
		// Of itself this client notes the id of the member, which is drawn at random.
		if !strings.HasPrefix(offset.Metadata, "oracle-") {
			seen["metadata"] = offset.Metadata
		}
		list = append(list, seen)
	}
	return story.Seen{"offsets": list}, nil
}

func (d *driver) lag(ctx context.Context, rest string) (story.Seen, error) {
	lags, err := d.admin.Lag(ctx, d.Name(rest))
	if err != nil {
		return nil, err
	}
	list := []story.Seen{}
	for _, lag := range lags[d.Name(rest)].Lag.Sorted() {
		list = append(list, story.Seen{"topic": lag.Topic, "partition": lag.Partition, "committed": lag.Commit.At, "end": lag.End.Offset, "lag": lag.Lag, "error": code(lag.Err)})
	}
	return story.Seen{"lag": list, "state": lags[d.Name(rest)].State}, nil
}

func (d *driver) deleteGroup(ctx context.Context, rest string) (story.Seen, error) {
	responses, err := d.admin.DeleteGroups(ctx, d.Name(rest))
	if err != nil {
		return nil, err
	}
	return answer(responses[d.Name(rest)].Err, responses[d.Name(rest)].ErrMessage), nil
}

func (d *driver) alterOffsets(ctx context.Context, group, topic string, partition int32, to int64) (story.Seen, error) {
	offsets := kadm.Offsets{}
	offsets.AddOffset(d.Name(topic), partition, to, -1)
	responses, err := d.admin.CommitOffsets(ctx, d.Name(group), offsets)
	if err != nil {
		return story.Seen{"error": code(err)}, nil
	}
	return story.Seen{"error": code(responses[d.Name(topic)][partition].Err)}, nil
}

func (d *driver) deleteOffsets(ctx context.Context, group, topic string, partition int32) (story.Seen, error) {
	set := kadm.TopicsSet{}
	set.Add(d.Name(topic), partition)
	responses, err := d.admin.DeleteOffsets(ctx, d.Name(group), set)
	if err != nil {
		return story.Seen{"error": code(err)}, nil
	}
	failure, answered := responses.Lookup(d.Name(topic), partition)
	return story.Seen{"error": code(failure), "answered": answered}, nil
}

// holding follows what a member is assigned.
type holding struct {
	mutex sync.Mutex
	held  map[string]map[int32]bool
}

func (h *holding) options() []kgo.Opt {
	h.held = map[string]map[int32]bool{}
	change := func(now bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			h.mutex.Lock()
			defer h.mutex.Unlock()
			for topic, list := range partitions {
				for _, partition := range list {
					if h.held[topic] == nil {
						h.held[topic] = map[int32]bool{}
					}
					h.held[topic][partition] = now
				}
			}
		}
	}
	return []kgo.Opt{kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false))}
}

func (h *holding) of(topic string) []int32 {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	list := []int32{}
	for _, partition := range sortedKeys(h.held[topic]) {
		if h.held[topic][partition] {
			list = append(list, partition)
		}
	}
	return list
}
