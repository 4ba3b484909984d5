// Package story is what the oracle's Go drivers share: the command line, steps with deadlines, and observations as
// JSON lines on standard output. Clients know nothing of each other; each has a program beside this package.
package story

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// Seen is one observation: whatever of it differs between two brokers is a finding.
type Seen map[string]any

// Story runs steps one after the other and prints what each has seen.
type Story struct {
	Bootstrap string
	prefix    string
	output    sync.Mutex
}

// Open reads the command line of a driver.
func Open() *Story {
	s := &Story{}
	flag.StringVar(&s.Bootstrap, "bootstrap", "", "HOST:PORT of a broker")
	flag.StringVar(&s.prefix, "prefix", "", "what the names of all topics and groups begin with")
	flag.Parse()
	if s.Bootstrap == "" || s.prefix == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: DRIVER --bootstrap HOST:PORT --prefix P")
		os.Exit(2)
	}
	return s
}

// Name is a topic or group of this run.
func (s *Story) Name(rest string) string { return s.prefix + "-" + rest }

// Prefix begins the names of this run.
func (s *Story) Prefix() string { return s.prefix }

// Step runs one step and prints its observation: what it has seen, the error or panic that nobody expected, or that
// its time was up. A step that does not heed its context is left behind.
func (s *Story) Step(name string, limit time.Duration, run func(ctx context.Context) (Seen, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	end := make(chan Seen, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				end <- Seen{"unexpected": fmt.Sprintf("panic: %v", cause)}
			}
		}()
		seen, err := run(ctx)
		if seen == nil {
			seen = Seen{}
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
			seen["unexpected"] = "timeout"
		case err != nil:
			seen["unexpected"] = fmt.Sprintf("%T: %v", err, err)
		}
		end <- seen
	}()
	var seen Seen
	select {
	case seen = <-end:
	case <-time.After(limit + 2*time.Second):
		seen = Seen{"unexpected": "timeout"}
	}
	seen["step"] = name
	s.output.Lock()
	defer s.output.Unlock()
	line, err := json.Marshal(seen)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s cannot be printed: %v\n", name, err)
		os.Exit(1)
	}
	fmt.Println(string(line))
	fmt.Fprintf(os.Stderr, "%s: %d ms\n", name, time.Since(began).Milliseconds())
}

// Settle asks until the answer is yes: Kafka itself spreads metadata and ends groups asynchronously.
func Settle(ctx context.Context, ask func() (bool, error)) error {
	for {
		settled, err := ask()
		if settled || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}
