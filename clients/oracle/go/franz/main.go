// The oracle's driver of franz-go: the newest versions of the protocol that a client speaks, flexible ones and topic ids.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"headwater/clients/oracle/go/story"
)

// Most steps take milliseconds.
const limit = 15 * time.Second

type driver struct {
	*story.Story
	client *kgo.Client
	admin  *kadm.Client
}

func main() {
	d := &driver{Story: story.Open()}
	d.client = d.open()
	d.admin = kadm.NewClient(d.client)
	d.topics()
	d.produce()
	d.consume()
	d.offsets()
	d.groups()
	d.rebalances()
	d.deletions()
	d.client.Close()
}

func (d *driver) step(name string, run func(ctx context.Context) (story.Seen, error)) {
	d.Step(name, limit, run)
}

// open makes a client; options that do not go together are a fault of this program.
func (d *driver) open(options ...kgo.Opt) *kgo.Client {
	common := []kgo.Opt{kgo.SeedBrokers(d.Bootstrap), kgo.ClientID("oracle"), kgo.MetadataMinAge(100 * time.Millisecond), kgo.FetchMaxWait(500 * time.Millisecond)}
	client, err := kgo.NewClient(append(common, options...)...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return client
}

// code is the name of a broker's error, nil without one; what is not from a broker is shown as the client says it.
func code(err error) any {
	var kafka *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kafka):
		return kafka.Message
	default:
		return fmt.Sprintf("%T: %v", err, err)
	}
}

// answer shows the error of a response and what the broker said of it.
func answer(err error, message string) story.Seen {
	return story.Seen{"error": code(err), "message": message}
}

func pointer(text string) *string { return &text }
