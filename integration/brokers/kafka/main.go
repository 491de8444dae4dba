// Command kafka is a Kafka cluster of one broker for a test: franz-go's kfake,
// which speaks the protocol and keeps the messages, the consumer groups and
// their offsets in memory. It survives what the test kills.
//
// A topic is created by its first use, with -partitions partitions. Standard
// output carries one line, the address of the broker; the end of standard
// input ends the process, so that no broker outlives its test.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// minSession is how short a session a consumer may ask for: the sooner a killed
// member is forgotten, the sooner its successor is given its partitions.
const minSession = time.Second

func main() {
	partitions := flag.Int("partitions", 4, "partitions of a topic")
	flag.Parse()
	if err := run(*partitions); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(partitions int) error {
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(partitions),
		kfake.GroupMinSessionTimeout(minSession),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelInfo)),
	)
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	defer cluster.Close()
	fmt.Println(cluster.ListenAddrs()[0])
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("waiting for the end of standard input: %w", err)
	}
	return nil
}
