// The driver of franz-go, a pure Go client; its command line is described in clients/README.md.
//
// Besides producing and consuming it creates topics, and it is the witness of the kill -9 proofs: `load` produces
// until told to stop and writes down what was acknowledged, `tail` consumes as a group and writes down what it
// committed, `committed` asks a broker for a group's offsets.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

const codecs = "none,gzip,snappy,lz4,zstd"

func answer(words []string) string {
	job, err := newJob(words)
	if err == nil {
		var result string
		switch job.command {
		case "codecs":
			return "ok\tcodecs=" + codecs
		case "produce":
			result, err = produce(job)
		case "consume":
			result, err = consume(job)
		case "create-topics":
			result, err = createTopics(job)
		case "committed":
			result, err = committed(job)
		case "load":
			result, err = load(job)
		case "tail":
			result, err = tail(job)
		default:
			err = fmt.Errorf("no command is called %q", job.command)
		}
		if err == nil {
			return "ok\t" + result
		}
	}
	return "error\t" + strings.Join(strings.Fields(err.Error()), " ")
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		lines := bufio.NewScanner(os.Stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Println(answer(strings.Split(lines.Text(), "\t")))
		}
		return
	}
	result := answer(os.Args[1:])
	fmt.Println(result)
	if !strings.HasPrefix(result, "ok") {
		os.Exit(1)
	}
}
