package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// job is one command and its `--key value` options.
type job struct {
	command string
	options map[string]string
}

func newJob(words []string) (*job, error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("empty job: a command is codecs, produce, consume, create-topics, committed, load, tail or serve")
	}
	j := &job{words[0], map[string]string{}}
	for i := 1; i < len(words); i += 2 {
		if !strings.HasPrefix(words[i], "--") || i+1 == len(words) {
			return nil, fmt.Errorf("expected --key value, found %q", words[i])
		}
		j.options[words[i][2:]] = words[i+1]
	}
	return j, nil
}

func (j *job) text(key, otherwise string) string {
	if value, ok := j.options[key]; ok {
		return value
	}
	return otherwise
}

func (j *job) number(key string, otherwise int) (int, error) {
	value, ok := j.options[key]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", key, err)
	}
	return n, nil
}

func (j *job) flag(key string) bool { return j.options[key] == "true" }

func (j *job) topics() []string { return strings.Split(j.text("topics", ""), ",") }

func (j *job) timeout() (time.Duration, error) {
	seconds, err := j.number("timeout", 60)
	return time.Duration(seconds) * time.Second, err
}

// need names the first missing option.
func (j *job) need(keys ...string) error {
	for _, key := range keys {
		if j.options[key] == "" {
			return fmt.Errorf("%s needs --%s", j.command, key)
		}
	}
	return nil
}

func (j *job) seeds() kgo.Opt { return kgo.SeedBrokers(strings.Split(j.text("bootstrap", ""), ",")...) }

var codecOf = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// producerOptions are the producer settings that `produce` and `load` share.
func (j *job) producerOptions() ([]kgo.Opt, error) {
	codec, ok := codecOf[j.text("codec", "none")]
	if !ok {
		return nil, fmt.Errorf("no codec is called %q", j.text("codec", "none"))
	}
	options := []kgo.Opt{
		j.seeds(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !j.flag("idempotent") {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	switch acks := j.text("acks", "all"); acks {
	case "all", "-1":
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	default:
		return nil, fmt.Errorf("--acks is all, 1 or 0, not %q", acks)
	}
	return options, nil
}
