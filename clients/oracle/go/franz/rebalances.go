package main

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"headwater/clients/oracle/go/story"
)

// rebalances tells of groups whose members come and go.
func (d *driver) rebalances() {
	d.step("rebalance-prepare", func(ctx context.Context) (story.Seen, error) {
		for _, topic := range []string{"shared", "pattern-a", "pattern-b"} {
			if _, err := d.create(ctx, 4, 1, keep, topic); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	for _, balancer := range []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.RoundRobinBalancer(), kgo.StickyBalancer(), kgo.CooperativeStickyBalancer()} {
		d.step("rebalance-"+balancer.ProtocolName(), func(ctx context.Context) (story.Seen, error) {
			return d.rebalance(ctx, balancer)
		})
	}
	d.step("static-member", d.static)
	d.step("pattern-subscription", func(ctx context.Context) (story.Seen, error) {
		var held holding
		member := d.member("by-pattern", append(held.options(), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+d.Prefix()+"-pattern-.*"))...)
		defer member.Close()
		err := story.Settle(ctx, func() (bool, error) {
			return len(held.of(d.Name("pattern-a"))) == 4 && len(held.of(d.Name("pattern-b"))) == 4, nil
		})
		return story.Seen{"a": held.of(d.Name("pattern-a")), "b": held.of(d.Name("pattern-b"))}, err
	})
}

// rebalance lets a second member come to a first, and go again.
func (d *driver) rebalance(ctx context.Context, balancer kgo.GroupBalancer) (story.Seen, error) {
	topic, group := d.Name("shared"), "by-"+balancer.ProtocolName()
	var one, two holding
	seen := story.Seen{}
	member := func(held *holding) *kgo.Client {
		return d.member(group, append(held.options(), kgo.Balancers(balancer), kgo.ConsumeTopics(topic))...)
	}
	first := member(&one)
	defer first.Close()
	if err := story.Settle(ctx, func() (bool, error) { return len(one.of(topic)) == 4, nil }); err != nil {
		return seen, err
	}
	seen["alone"] = one.of(topic)
	second := member(&two)
	defer second.Close()
	if err := story.Settle(ctx, func() (bool, error) { return len(one.of(topic)) == 2 && len(two.of(topic)) == 2, nil }); err != nil {
		return seen, err
	}
	together := append(one.of(topic), two.of(topic)...)
	slices.Sort(together)
	seen["together"] = together
	err := story.Settle(ctx, func() (bool, error) {
		groups, err := d.admin.DescribeGroups(ctx, d.Name(group))
		return groups[d.Name(group)].State == "Stable", err
	})
	if err != nil {
		return seen, err
	}
	if seen["group"], err = d.group(ctx, group); err != nil {
		return seen, err
	}
	first.Close()
	if err := story.Settle(ctx, func() (bool, error) { return len(two.of(topic)) == 4, nil }); err != nil {
		return seen, err
	}
	seen["left"] = two.of(topic)
	return seen, nil
}

// static lets a member with an instance id go without a word, come back unnoticed, and be removed by an administrator.
func (d *driver) static(ctx context.Context) (story.Seen, error) {
	topic, seen := d.Name("shared"), story.Seen{}
	for _, time := range []string{"first", "again"} {
		var held holding
		member := d.member("static", append(held.options(), kgo.InstanceID("instance-1"), kgo.Balancers(kgo.RangeBalancer()), kgo.ConsumeTopics(topic))...)
		err := story.Settle(ctx, func() (bool, error) { return len(held.of(topic)) == 4, nil })
		seen[time] = held.of(topic)
		if err == nil {
			member.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 0}}}, nil)
			seen[time+"_group"], err = d.group(ctx, "static")
		}
		member.CloseAllowingRebalance()
		if err != nil {
			return seen, err
		}
	}
	stays, err := d.group(ctx, "static")
	if err != nil {
		return seen, err
	}
	seen["gone_without_a_word"] = stays
	left, err := d.admin.LeaveGroup(ctx, kadm.LeaveGroup(d.Name("static")).InstanceIDs("instance-1"))
	if err != nil {
		return seen, err
	}
	seen["removed"] = code(left["instance-1"].Err)
	if err := d.emptied(ctx, "static"); err != nil {
		return seen, err
	}
	seen["then"], err = d.group(ctx, "static")
	return seen, err
}

// deletions come last.
func (d *driver) deletions() {
	for _, group := range []string{"readers", "offsets-only", "by-range"} {
		d.step("delete-group-"+group, func(ctx context.Context) (story.Seen, error) {
			if err := d.emptied(ctx, group); err != nil {
				return nil, err
			}
			seen, err := d.deleteGroup(ctx, group)
			if err != nil {
				return nil, err
			}
			seen["then"], err = d.group(ctx, group)
			return seen, err
		})
	}
	d.step("delete-topic-of-group", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.alterOffsets(ctx, "bereft", "queue", 0, 5)
		if err != nil {
			return nil, err
		}
		if seen["deleted"], err = d.deleteTopic(ctx, "queue"); err != nil {
			return seen, err
		}
		// Kafka's coordinator forgets the offsets of a deleted topic a moment later.
		err = story.Settle(ctx, func() (bool, error) {
			offsets, err := d.admin.FetchOffsets(ctx, d.Name("bereft"))
			return len(offsets) == 0, err
		})
		if err == nil {
			seen["then"], err = d.committed(ctx, "bereft")
		}
		return seen, err
	})
	for _, topic := range []string{"plain", "nowhere"} {
		d.step("delete-topic-"+topic, func(ctx context.Context) (story.Seen, error) { return d.deleteTopic(ctx, topic) })
	}
	d.step("deleted-topic-described", func(ctx context.Context) (story.Seen, error) { return d.described(ctx, d.Name("plain")) })
	d.step("deleted-topic-offsets", func(ctx context.Context) (story.Seen, error) {
		listed, err := d.admin.ListEndOffsets(ctx, d.Name("plain"))
		return positions(listed), err
	})
	d.step("deleted-topic-created-again", func(ctx context.Context) (story.Seen, error) {
		seen, err := d.create(ctx, 1, 1, keep, "plain")
		if err != nil {
			return seen, err
		}
		seen["end"], err = d.end(ctx, "plain")
		return seen, err
	})
}

// deleteTopic deletes and waits until the topic is gone from the metadata.
func (d *driver) deleteTopic(ctx context.Context, rest string) (story.Seen, error) {
	responses, err := d.admin.DeleteTopics(ctx, d.Name(rest))
	if err != nil {
		return nil, err
	}
	response := responses[d.Name(rest)]
	return answer(response.Err, response.ErrMessage), story.Settle(ctx, func() (bool, error) {
		topics, err := d.admin.ListTopics(ctx, d.Name(rest))
		return topics[d.Name(rest)].Err != nil, err
	})
}

func sortedKeys[K cmp.Ordered, V any](of map[K]V) []K { return slices.Sorted(maps.Keys(of)) }
