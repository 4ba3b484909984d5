// The oracle's driver of sarama, as it was in 2020 and as it is today (ibm/go.mod): versions of the protocol go by
// `--protocol`. Below 0.11 it speaks message sets of magic 1.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"strings"
	"time"

	"github.com/Shopify/sarama"

	"headwater/clients/oracle/go/story"
)

// Most steps take milliseconds.
const limit = 15 * time.Second

type driver struct {
	*story.Story
	version sarama.KafkaVersion
	client  sarama.Client
	admin   sarama.ClusterAdmin
}

func main() {
	protocol := flag.String("protocol", sarama.MaxVersion.String(), "the version of Kafka whose protocol is spoken")
	d := &driver{Story: story.Open()}
	var err error
	if d.version, err = sarama.ParseKafkaVersion(*protocol); err != nil {
		log.Fatal(err)
	}
	if d.client, err = sarama.NewClient([]string{d.Bootstrap}, d.config()); err != nil {
		log.Fatal(err)
	}
	if d.admin, err = sarama.NewClusterAdmin([]string{d.Bootstrap}, d.config()); err != nil {
		log.Fatal(err)
	}
	d.topics()
	d.produce()
	d.consume()
	d.groups()
	d.deletions()
}

func (d *driver) step(name string, run func(ctx context.Context) (story.Seen, error)) {
	d.Step(name, limit, run)
}

// since is a step that needs what a version brought.
func (d *driver) since(version sarama.KafkaVersion, name string, run func(ctx context.Context) (story.Seen, error)) {
	if d.version.IsAtLeast(version) {
		d.step(name, run)
	}
}

func (d *driver) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = d.version
	config.ClientID = "oracle"
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 2_000_000
	config.Producer.Retry.Max = 1
	config.Metadata.Retry.Max = 60
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	return config
}

// code is what a broker's error is called here, nil without one; its message, where there is one, follows.
func code(err error) any {
	var topic *sarama.TopicError
	var partition *sarama.TopicPartitionError
	switch {
	case err == nil, errors.Is(err, sarama.ErrNoError):
		return nil
	case errors.As(err, &topic):
		return answer(topic.Err, topic.ErrMsg)
	case errors.As(err, &partition):
		return answer(partition.Err, partition.ErrMsg)
	default:
		return err.Error()
	}
}

func answer(code sarama.KError, message *string) story.Seen {
	if message != nil {
		// Kafka says this since 4, and an older one judges an older client.
		message = pointer(strings.Replace(*message, " or some brokers have all their log directories cordoned", "", 1))
	}
	return story.Seen{"code": int16(code), "message": message}
}

func pointer(text string) *string { return &text }

func init() { sarama.Logger = log.New(os.Stderr, "", 0) }
