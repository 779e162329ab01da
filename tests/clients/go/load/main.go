// Command load puts one load on any broker of Kafka's protocol and prints what it saw as one line of JSON, so that two
// brokers can be measured with one client on one machine.
//
//	load produce      records as fast as they are acknowledged
//	load consume      reads what produce left in the topic, from its beginning, without a group
//	load latency      records at a fixed rate, from the moment each was due to the moment it was read
//	load transactions transactions of so many records, one after the other, by so many producers
//	load connections  so many connections that ask nothing, or each a little at a time
//
// The topic is made anew before produce, latency and transactions. `-pids` names the servers' processes: their time on the
// processor and their memory are told beside the figures.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	flags       = flag.NewFlagSet("load", flag.ExitOnError)
	bootstrap   = flags.String("bootstrap", "127.0.0.1:9092", "brokers, parted by commas")
	topic       = flags.String("topic", "load", "the topic")
	partitions  = flags.Int("partitions", 6, "of the topic")
	replicas    = flags.Int("replicas", 1, "of each partition")
	settings    = flags.String("set", "", "the topic's settings: name=value, parted by commas")
	size        = flags.Int("size", 1024, "bytes of a record's value")
	bytes       = flags.Int64("bytes", 2_000_000_000, "of values in all (produce)")
	batch       = flags.Int("batch", 256<<10, "the largest batch, in bytes")
	inFlight    = flags.Int("in-flight", 32<<20, "bytes that wait for their acknowledgement at most (produce)")
	rate        = flags.Int("rate", 5000, "records per second (latency), requests per second in all (connections)")
	duration    = flags.Duration("duration", 10*time.Second, "how long (latency, transactions, connections)")
	warm        = flags.Duration("warm", 2*time.Second, "time at the beginning that does not count (latency)")
	records     = flags.Int("records", 100, "of a transaction")
	producers   = flags.Int("producers", 1, "that have transactions at the same time")
	connections = flags.Int("connections", 5000, "that are open")
	busy        = flags.Bool("busy", false, "the connections produce, in turn, at the rate (connections)")
	pids        = flags.String("pids", "", "processes of the servers, parted by commas")
	label       = flags.String("label", "", "told with the figures")
)

// figures are what is printed.
type figures map[string]any

func main() {
	modes := map[string]func(context.Context) (figures, error){
		"produce": produce, "consume": consume, "latency": latency,
		"transactions": transactions, "connections": connected,
	}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "load: produce, consume, latency, transactions or connections; -h after it shows the options")
		os.Exit(2)
	}
	mode := os.Args[1]
	if err := flags.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	shown, err := modes[mode](ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "load %s: %v\n", mode, err)
		os.Exit(1)
	}
	shown["mode"] = mode
	shown["label"] = *label
	line, _ := json.Marshal(shown)
	fmt.Println(string(line))
}

func client(options ...kgo.Opt) (*kgo.Client, error) {
	base := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(*bootstrap, ",")...),
		kgo.DefaultProduceTopic(*topic),
		kgo.ProducerBatchMaxBytes(int32(*batch)),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
	return kgo.NewClient(append(base, options...)...)
}

// remake makes the topic anew.
func remake(ctx context.Context) error {
	plain, err := client()
	if err != nil {
		return err
	}
	defer plain.Close()
	admin := kadm.NewClient(plain)
	if _, err := admin.DeleteTopics(ctx, *topic); err != nil {
		return err
	}
	configs := map[string]*string{}
	for _, pair := range strings.Split(*settings, ",") {
		if name, value, found := strings.Cut(pair, "="); found {
			configs[name] = &value
		}
	}
	for {
		made, err := admin.CreateTopic(ctx, int32(*partitions), int16(*replicas), configs, *topic)
		if err == nil && made.Err == nil {
			break
		}
		// One that is being deleted is there for a while.
		if !strings.Contains(fmt.Sprint(err, made.Err), "TOPIC_ALREADY_EXISTS") {
			return fmt.Errorf("the topic cannot be made: %v %v", err, made.Err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	// What the old topic left is unlinked, and the new one has its leaders.
	return pause(ctx, 2*time.Second)
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// stamped is a value that begins with a time.
func stamped(due time.Time) []byte {
	value := make([]byte, max(*size, 8))
	binary.BigEndian.PutUint64(value, uint64(due.UnixNano()))
	return value
}

func since(value []byte) time.Duration {
	return time.Duration(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(value)))
}
