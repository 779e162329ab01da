// Command franz tries franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"millstream/tests/clients/checks"
)

const name = "franz-go"

func client(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(checks.Bootstrap...)}, options...)...)
	if err != nil {
		panic(err)
	}
	return client
}

func administrator() *kadm.Client { return kadm.NewClient(client()) }

func partitionsOf(ctx context.Context, admin *kadm.Client, topic string) []kadm.PartitionDetail {
	details, err := admin.ListTopics(ctx, topic)
	if err != nil || details[topic].Err != nil {
		return nil
	}
	led := details[topic].Partitions.Sorted()
	for _, partition := range led {
		if partition.Leader < 1 {
			return nil
		}
	}
	return led
}

func create(ctx context.Context, topic string, partitions int32) error {
	admin := administrator()
	defer admin.Close()
	if _, err := admin.CreateTopic(ctx, partitions, 3, nil, topic); err != nil {
		return err
	}
	is := func() bool { return len(partitionsOf(ctx, admin, topic)) == int(partitions) }
	return checks.Until(topic+" is there", is)
}

func send(ctx context.Context, topic string, pairs []checks.Pair, options ...kgo.Opt) error {
	producer := client(options...)
	defer producer.Close()
	records := make([]*kgo.Record, len(pairs))
	for i, pair := range pairs {
		headers := []kgo.RecordHeader{{Key: "from", Value: []byte(name)}}
		records[i] = &kgo.Record{Topic: topic, Key: []byte(pair.Key), Value: []byte(pair.Value), Headers: headers}
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func poll(ctx context.Context, reader *kgo.Client, wait time.Duration) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := reader.PollFetches(ctx)
	for _, err := range fetches.Errors() {
		if !errors.Is(err.Err, context.DeadlineExceeded) {
			return nil, err.Err
		}
	}
	return fetches.Records(), nil
}

func read(ctx context.Context, reader *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < count {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d records were read", len(records), count)
		}
		more, err := poll(ctx, reader, time.Second)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

func readTopic(ctx context.Context, topic string, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	start := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	reader := client(append(options, kgo.ConsumeTopics(topic), start)...)
	defer reader.Close()
	records, err := read(ctx, reader, count)
	if err != nil {
		return nil, err
	}
	if more, err := poll(ctx, reader, 300*time.Millisecond); err != nil || len(records)+len(more) != count {
		return nil, fmt.Errorf("%d records instead of %d: %w", len(records)+len(more), count, err)
	}
	return records, nil
}

func pairs(records []*kgo.Record) []checks.Pair {
	pairs := make([]checks.Pair, len(records))
	for i, record := range records {
		pairs[i] = checks.Pair{Key: string(record.Key), Value: string(record.Value)}
	}
	return pairs
}

func administer(ctx context.Context) error {
	const topic = name + "-admin"
	admin := administrator()
	defer admin.Close()
	if err := create(ctx, topic, 2); err != nil {
		return err
	}
	for _, partition := range partitionsOf(ctx, admin, topic) {
		if len(partition.Replicas) != 3 {
			return fmt.Errorf("replicas of partition %d: %v", partition.Partition, partition.Replicas)
		}
	}
	day := "86400000"
	changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &day}}
	if _, err := admin.AlterTopicConfigs(ctx, changes, topic); err != nil {
		return err
	}
	set := func() bool {
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return false
		}
		for _, config := range configs[0].Configs {
			if config.Key == "retention.ms" {
				return config.MaybeValue() == day
			}
		}
		return false
	}
	if err := checks.Until("retention.ms is as it was set", set); err != nil {
		return err
	}
	if _, err := admin.UpdatePartitions(ctx, 4, topic); err != nil {
		return err
	}
	four := func() bool { return len(partitionsOf(ctx, admin, topic)) == 4 }
	if err := checks.Until("four partitions", four); err != nil {
		return err
	}
	if _, err := admin.DeleteTopics(ctx, topic); err != nil {
		return err
	}
	gone := func() bool {
		topics, err := admin.ListTopics(ctx)
		return err == nil && !topics.Has(topic)
	}
	if err := checks.Until("the topic is gone", gone); err != nil {
		return err
	}
	brokers, err := admin.ListBrokers(ctx)
	if err == nil && len(brokers) != 3 {
		err = fmt.Errorf("%d brokers", len(brokers))
	}
	return err
}

var compressions = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func codec(ctx context.Context, codec string) error {
	topic, sent := name+"-"+codec, checks.Records(name, 0, 1000)
	if err := create(ctx, topic, 3); err != nil {
		return err
	}
	if err := send(ctx, topic, sent, kgo.ProducerBatchCompression(compressions[codec])); err != nil {
		return err
	}
	records, err := readTopic(ctx, topic, len(sent))
	if err != nil {
		return err
	}
	for _, record := range records {
		if len(record.Headers) != 1 || string(record.Headers[0].Value) != name {
			return fmt.Errorf("headers: %v", record.Headers)
		}
	}
	return checks.Same(sent, pairs(records))
}

// Whether the topics that the others wrote hold batches of the codecs that they were told to use.
func codecsOfAll(ctx context.Context) error {
	for _, writer := range strings.Fields(os.Getenv("WROTE")) {
		switch writer {
		case "java-tools", "copy", "streams", "connect", "secured":
			continue
		}
		for number, codec := range checks.Codecs {
			records, err := readTopic(ctx, writer+"-"+codec, 1000)
			if err != nil {
				return fmt.Errorf("%s-%s: %w", writer, codec, err)
			}
			for _, record := range records {
				if int(record.Attrs.CompressionType()) != number {
					return fmt.Errorf("%s-%s has a batch of codec %d", writer, codec, record.Attrs.CompressionType())
				}
			}
		}
	}
	return nil
}

// members of a group: the first and, later, the second; what each has read.
type members struct {
	topic    string
	options  []kgo.Opt
	clients  [2]*kgo.Client
	assigned [2]atomic.Int32
	read     [2]int
	times    map[string]int
}

func (m *members) join(number int) {
	change := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.assigned[number].Add(int32(by * len(partitions[m.topic])))
		}
	}
	m.clients[number] = client(append(m.options, kgo.ConsumerGroup(m.topic), kgo.ConsumeTopics(m.topic),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(change(1)), kgo.OnPartitionsRevoked(change(-1)), kgo.OnPartitionsLost(change(-1)))...)
}

func (m *members) leave(number int) {
	m.clients[number].Close()
	m.clients[number] = nil
}

func (m *members) readUntil(ctx context.Context, what string, done func() bool) error {
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("it never came to that: %s", what)
		}
		for number, member := range m.clients {
			if member == nil {
				continue
			}
			records, err := poll(ctx, member, 50*time.Millisecond)
			if err != nil {
				return err
			}
			for _, record := range records {
				m.times[string(record.Value)]++
				m.read[number]++
			}
		}
	}
	return nil
}

// Sends more, has all read, and commits.
func (m *members) take(ctx context.Context, more []checks.Pair) error {
	total := m.read[0] + m.read[1] + len(more)
	if err := send(ctx, m.topic, more); err != nil {
		return err
	}
	read := func() bool { return m.read[0]+m.read[1] >= total }
	if err := m.readUntil(ctx, fmt.Sprintf("%d records read", total), read); err != nil {
		return err
	}
	for _, member := range m.clients {
		if member == nil {
			continue
		}
		if err := member.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *members) assignedAre(first, second int32) func() bool {
	return func() bool { return m.assigned[0].Load() == first && m.assigned[1].Load() == second }
}

// One member reads; with the second, each record goes to one of the two; without the first, all go to the second.
func group(ctx context.Context, topic string, options ...kgo.Opt) error {
	if err := create(ctx, topic, 4); err != nil {
		return err
	}
	m := &members{topic: topic, options: options, times: map[string]int{}}
	sent := checks.Records(name, 0, 1600)
	m.join(0)
	if err := m.take(ctx, sent[:400]); err != nil {
		return err
	}
	m.join(1)
	if err := m.readUntil(ctx, "two partitions each", m.assignedAre(2, 2)); err != nil {
		return err
	}
	if err := m.take(ctx, sent[400:1200]); err != nil {
		return err
	}
	m.leave(0)
	if err := m.readUntil(ctx, "four partitions", m.assignedAre(0, 4)); err != nil {
		return err
	}
	if err := m.take(ctx, sent[1200:]); err != nil {
		return err
	}
	m.leave(1)
	if m.read[0] <= 400 || m.read[1] <= 400 {
		return fmt.Errorf("one of two members read everything: %v", m.read)
	}
	if err := checks.EachOnce(sent, m.times); err != nil {
		return err
	}
	admin := administrator()
	defer admin.Close()
	_, err := admin.DeleteGroup(ctx, topic)
	return err
}

func seekByTime(ctx context.Context) error {
	const topic = name + "-time"
	if err := create(ctx, topic, 1); err != nil {
		return err
	}
	begin := time.Now().Add(-time.Hour).UnixMilli()
	producer := client()
	defer producer.Close()
	for i := range 100 {
		record := &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i)), Timestamp: time.UnixMilli(begin + int64(i)*1000)}
		if err := producer.ProduceSync(ctx, record).FirstErr(); i%25 == 0 && err != nil {
			return err
		}
	}
	admin := administrator()
	defer admin.Close()
	for at, want := range map[int64]int64{begin + 49_001: 50, begin + 100_000: 100} {
		offsets, err := admin.ListOffsetsAfterMilli(ctx, at, topic)
		if err != nil {
			return err
		}
		if found, _ := offsets.Lookup(topic, 0); found.Offset != want {
			return fmt.Errorf("offset %d instead of %d", found.Offset, want)
		}
	}
	from := kgo.NewOffset().AfterMilli(begin + 50_000)
	reader := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: from}}))
	defer reader.Close()
	records, err := read(ctx, reader, 50)
	if err != nil {
		return err
	}
	if string(records[0].Value) != "50" || len(records) != 50 {
		return fmt.Errorf("%d records from %s on", len(records), records[0].Value)
	}
	return nil
}

func leaderKilled(ctx context.Context) error {
	const topic, total = name + "-kill", 3000
	if err := create(ctx, topic, 3); err != nil {
		return err
	}
	admin := administrator()
	leader := partitionsOf(ctx, admin, topic)[0].Leader
	admin.Close()
	type outcome struct {
		records []*kgo.Record
		err     error
	}
	followed := make(chan outcome, 1)
	go func() {
		records, err := readTopic(ctx, topic, total)
		followed <- outcome{records, err}
	}()
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))
	defer producer.Close()
	var sent []checks.Pair
	errs := make(chan error, total)
	for i := range total {
		pair := checks.Pair{Key: strconv.Itoa(i % 3), Value: strconv.Itoa(i)}
		sent = append(sent, pair)
		record := &kgo.Record{Topic: topic, Partition: int32(i % 3), Key: []byte(pair.Key), Value: []byte(pair.Value)}
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) { errs <- err })
		time.Sleep(time.Millisecond)
		switch i {
		case total / 3:
			if err := checks.Node("kill", leader); err != nil {
				return err
			}
		case total * 2 / 3:
			if err := checks.Node("start", leader); err != nil {
				return err
			}
		}
	}
	for range total {
		if err := <-errs; err != nil {
			return err
		}
	}
	during := <-followed
	if during.err != nil {
		return fmt.Errorf("during the kill: %w", during.err)
	}
	if err := checks.Same(sent, pairs(during.records)); err != nil {
		return fmt.Errorf("during the kill: %w", err)
	}
	records, err := readTopic(ctx, topic, total)
	if err != nil {
		return err
	}
	return checks.Same(sent, pairs(records))
}

func transactions(ctx context.Context) error {
	const source, target = name + "-source", name + "-target"
	if err := errors.Join(create(ctx, source, 1), create(ctx, target, 2)); err != nil {
		return err
	}
	sent := checks.Records(name, 0, 100)
	if err := send(ctx, source, sent); err != nil {
		return err
	}
	session := func() (*kgo.GroupTransactSession, error) {
		return kgo.NewGroupTransactSession(kgo.SeedBrokers(checks.Bootstrap...), kgo.TransactionalID(name),
			kgo.TransactionTimeout(30*time.Second), kgo.ConsumerGroup(source), kgo.ConsumeTopics(source),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	// Copies so many records of the source in one transaction.
	copyOf := func(session *kgo.GroupTransactSession, count int, try kgo.TransactionEndTry) error {
		if err := session.Begin(); err != nil {
			return err
		}
		for copied := 0; copied < count; {
			if ctx.Err() != nil {
				return fmt.Errorf("%d of %d records were read", copied, count)
			}
			for _, record := range session.PollRecords(ctx, count-copied).Records() {
				copied++
				value := record.Value
				if try == kgo.TryAbort {
					value = []byte("aborted")
				}
				session.Produce(ctx, &kgo.Record{Topic: target, Key: record.Key, Value: value}, nil)
			}
		}
		if err := session.Client().Flush(ctx); err != nil {
			return err
		}
		committed, err := session.End(ctx, try)
		if err == nil && committed != bool(try) {
			err = fmt.Errorf("committed: %t", committed)
		}
		return err
	}
	first, err := session()
	if err != nil {
		return err
	}
	defer first.CloseAllowingRebalance()
	if err := copyOf(first, 60, kgo.TryCommit); err != nil {
		return err
	}
	if err := copyOf(first, 40, kgo.TryAbort); err != nil {
		return err
	}
	// Another with the same id fences it.
	fences := client(kgo.TransactionalID(name))
	defer fences.Close()
	if _, _, err := fences.ProducerID(ctx); err != nil {
		return err
	}
	if err := copyOf(first, 40, kgo.TryCommit); err == nil {
		return errors.New("the first producer was not fenced")
	} else if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		return fmt.Errorf("another error than of one that is fenced: %w", err)
	}
	first.CloseAllowingRebalance()
	second, err := session()
	if err != nil {
		return err
	}
	defer second.CloseAllowingRebalance()
	if err := copyOf(second, 40, kgo.TryCommit); err != nil {
		return err
	}
	records, err := readTopic(ctx, target, 100, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return fmt.Errorf("read_committed: %w", err)
	}
	return checks.Same(sent, pairs(records))
}

func main() {
	checks.Tell("admin", administer)
	for _, name := range checks.Codecs {
		checks.Tell(name, func(ctx context.Context) error { return codec(ctx, name) })
	}
	checks.Tell("group", func(ctx context.Context) error { return group(ctx, name+"-group") })
	checks.Tell("group-848", func(ctx context.Context) error {
		return group(ctx, name+"-group-848", kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	})
	checks.Tell("time", seekByTime)
	checks.Tell("transactions", transactions)
	checks.Tell("kill", leaderKilled)
	checks.Tell("codecs-of-all", codecsOfAll)
}
