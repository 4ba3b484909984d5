// The oracle's driver of segmentio/kafka-go, whose readers and writers speak a protocol code of their own beside the one
// of its Client.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"headwater/clients/oracle/go/story"
)

// Most steps take milliseconds.
const limit = 15 * time.Second

// The client answers questions for metadata from what it knows, for so long, and gives a broker as long to tell it again.
const metadataAge = 2 * time.Second

type driver struct {
	*story.Story
	client *kafka.Client
}

func main() {
	d := &driver{Story: story.Open()}
	d.client = &kafka.Client{Addr: kafka.TCP(d.Bootstrap), Timeout: limit, Transport: &kafka.Transport{ClientID: "oracle", MetadataTTL: metadataAge}}
	d.topics()
	d.produce()
	d.consume()
	d.groups()
	d.deletions()
}

func (d *driver) step(name string, run func(ctx context.Context) (story.Seen, error)) {
	d.Step(name, limit, run)
}

// code is the number of a broker's error, nil without one; what is not from a broker is shown as the client says it.
func code(err error) any {
	var broker kafka.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broker):
		// What the broker says of it follows the client's own words.
		_, message, _ := strings.Cut(err.Error(), broker.Error()+": ")
		return story.Seen{"code": int(broker), "message": message}
	default:
		return err.Error()
	}
}
