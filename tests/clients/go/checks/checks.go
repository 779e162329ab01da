// Package checks has what both Go clients share: how a check is told, and what is sent and must come back.
package checks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Bootstrap has the nodes' addresses.
var Bootstrap = strings.Split(os.Getenv("BOOTSTRAP"), ",")

// Codecs that records may be compressed with.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Pair is a record.
type Pair struct{ Key, Value string }

// Tell makes a check and prints a line for it; of transactions only where they are served.
func Tell(name string, check func(context.Context) error) {
	if name == "transactions" && os.Getenv("TRANSACTIONS") != "yes" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := check(ctx); err != nil {
		fmt.Printf("failed %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

// Node kills or starts a node.
func Node(action string, number int32) error {
	command := exec.Command(os.Getenv("NODE"), action, strconv.Itoa(int(number)))
	command.Stderr = os.Stderr
	return command.Run()
}

// Records that compress well.
func Records(client string, first, end int) []Pair {
	pairs := make([]Pair, 0, end-first)
	for i := first; i < end; i++ {
		value := fmt.Sprintf("%s %d %s", client, i, strings.Repeat("flight ", 20))
		pairs = append(pairs, Pair{fmt.Sprintf("k%d", i%17), value})
	}
	return pairs
}

// Same is an error unless each record was read once, those of a key in the order in which they were sent.
func Same(sent, read []Pair) error {
	if len(sent) != len(read) {
		return fmt.Errorf("%d sent, %d read", len(sent), len(read))
	}
	ofKey := func(pairs []Pair) map[string][]string {
		values := map[string][]string{}
		for _, pair := range pairs {
			values[pair.Key] = append(values[pair.Key], pair.Value)
		}
		return values
	}
	got := ofKey(read)
	for key, values := range ofKey(sent) {
		if strings.Join(values, "\n") != strings.Join(got[key], "\n") {
			return fmt.Errorf("others were read of %s, or in another order", key)
		}
	}
	return nil
}

// EachOnce is an error unless each record went to one member once; it takes how often each value was read.
func EachOnce(sent []Pair, read map[string]int) error {
	for _, pair := range sent {
		if read[pair.Value] != 1 {
			return fmt.Errorf("%q was read %d times", pair.Value[:30], read[pair.Value])
		}
	}
	return nil
}

// Until waits until it is so.
func Until(what string, is func() bool) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return nil
		}
	}
	return fmt.Errorf("not within 20 s: %s", what)
}
