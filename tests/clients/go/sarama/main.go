// Command sarama tries sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"millstream/tests/clients/checks"
)

const name = "sarama"

var admin sarama.ClusterAdmin

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 100
	config.Metadata.RefreshFrequency = time.Second
	config.Consumer.Return.Errors = false
	config.Consumer.Retry.Backoff = 250 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return config
}

func partitionsOf(topic string) []*sarama.PartitionMetadata {
	described, err := admin.DescribeTopics([]string{topic})
	if err != nil || len(described) != 1 || described[0].Err != sarama.ErrNoError {
		return nil
	}
	for _, partition := range described[0].Partitions {
		if partition.Leader < 1 {
			return nil
		}
	}
	return described[0].Partitions
}

func create(topic string, partitions int32) error {
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 3}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return err
	}
	return checks.Until(topic+" is there", func() bool { return len(partitionsOf(topic)) == int(partitions) })
}

func messages(topic string, pairs []checks.Pair) []*sarama.ProducerMessage {
	messages := make([]*sarama.ProducerMessage, len(pairs))
	for i, pair := range pairs {
		headers := []sarama.RecordHeader{{Key: []byte("from"), Value: []byte(name)}}
		key, value := sarama.StringEncoder(pair.Key), sarama.StringEncoder(pair.Value)
		messages[i] = &sarama.ProducerMessage{Topic: topic, Key: key, Value: value, Headers: headers}
	}
	return messages
}

func send(topic string, pairs []checks.Pair, config *sarama.Config) error {
	producer, err := sarama.NewSyncProducer(checks.Bootstrap, config)
	if err != nil {
		return err
	}
	return errors.Join(producer.SendMessages(messages(topic, pairs)), producer.Close())
}

// Reads so many records of all partitions, each from an offset on.
func readFrom(ctx context.Context, topic string, partitions int32, from int64, count int, config *sarama.Config) ([]checks.Pair, error) {
	reader, err := sarama.NewConsumer(checks.Bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	found := make(chan *sarama.ConsumerMessage, 100)
	for partition := range partitions {
		of, err := reader.ConsumePartition(topic, partition, from)
		// A new leader may not know yet that it is one, or how much is committed. Sarama leaves it to its user to ask again.
		for (errors.Is(err, sarama.ErrNotLeaderForPartition) || errors.Is(err, sarama.ErrOffsetNotAvailable)) && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			of, err = reader.ConsumePartition(topic, partition, from)
		}
		if err != nil {
			return nil, err
		}
		defer of.AsyncClose()
		go func() {
			for message := range of.Messages() {
				select {
				case found <- message:
				case <-ctx.Done():
				}
			}
		}()
	}
	var read []checks.Pair
	patience := ctx.Done()
	for {
		var extra <-chan time.Time
		if len(read) >= count {
			extra = time.After(300 * time.Millisecond)
		}
		select {
		case message := <-found:
			read = append(read, checks.Pair{Key: string(message.Key), Value: string(message.Value)})
		case <-extra:
			if len(read) != count {
				return nil, fmt.Errorf("%d records instead of %d", len(read), count)
			}
			return read, nil
		case <-patience:
			return nil, fmt.Errorf("%d of %d records were read", len(read), count)
		}
	}
}

func readTopic(ctx context.Context, topic string, partitions int32, count int) ([]checks.Pair, error) {
	return readFrom(ctx, topic, partitions, sarama.OffsetOldest, count, config())
}

func administer(context.Context) error {
	const topic = name + "-admin"
	if err := create(topic, 2); err != nil {
		return err
	}
	for _, partition := range partitionsOf(topic) {
		if len(partition.Replicas) != 3 {
			return fmt.Errorf("replicas of partition %d: %v", partition.ID, partition.Replicas)
		}
	}
	day := "86400000"
	change := map[string]sarama.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &day},
	}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false); err != nil {
		return err
	}
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
	set := func() bool {
		entries, err := admin.DescribeConfig(resource)
		return err == nil && len(entries) == 1 && entries[0].Value == day
	}
	if err := checks.Until("retention.ms is as it was set", set); err != nil {
		return err
	}
	if err := admin.CreatePartitions(topic, 4, nil, false); err != nil {
		return err
	}
	if err := checks.Until("four partitions", func() bool { return len(partitionsOf(topic)) == 4 }); err != nil {
		return err
	}
	if err := admin.DeleteTopic(topic); err != nil {
		return err
	}
	gone := func() bool {
		topics, err := admin.ListTopics()
		_, there := topics[topic]
		return err == nil && !there
	}
	if err := checks.Until("the topic is gone", gone); err != nil {
		return err
	}
	brokers, _, err := admin.DescribeCluster()
	if err == nil && len(brokers) != 3 {
		err = fmt.Errorf("%d brokers", len(brokers))
	}
	return err
}

var compressions = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func codec(ctx context.Context, codec string) error {
	topic, sent := name+"-"+codec, checks.Records(name, 0, 1000)
	if err := create(topic, 3); err != nil {
		return err
	}
	config := config()
	config.Producer.Compression = compressions[codec]
	if err := send(topic, sent, config); err != nil {
		return err
	}
	read, err := readTopic(ctx, topic, 3, len(sent))
	if err != nil {
		return err
	}
	return checks.Same(sent, read)
}

// A member of a group: what it is assigned, and what it has read.
type member struct {
	group    sarama.ConsumerGroup
	stop     context.CancelFunc
	ended    chan struct{}
	guard    sync.Mutex
	assigned int
	read     int
	times    map[string]int
}

func join(ctx context.Context, topic string) (*member, error) {
	group, err := sarama.NewConsumerGroup(checks.Bootstrap, topic, config())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	m := &member{group: group, stop: stop, ended: make(chan struct{}), times: map[string]int{}}
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, m); err != nil {
				fmt.Fprintln(os.Stderr, "member:", err)
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.guard.Lock()
	defer m.guard.Unlock()
	m.assigned = 0
	for _, partitions := range session.Claims() {
		m.assigned += len(partitions)
	}
	return nil
}

// What was read is committed before the partitions change hands.
func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			m.guard.Lock()
			m.read++
			m.times[string(message.Value)]++
			m.guard.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) has() (assigned, read int) {
	m.guard.Lock()
	defer m.guard.Unlock()
	return m.assigned, m.read
}

func (m *member) leave() error {
	m.stop()
	<-m.ended
	return m.group.Close()
}

// One member reads; with the second, each record goes to one of the two; without the first, all go to the second.
func group(ctx context.Context) error {
	const topic = name + "-group"
	if err := create(topic, 4); err != nil {
		return err
	}
	first, err := join(ctx, topic)
	if err != nil {
		return err
	}
	second := &member{}
	sent := checks.Records(name, 0, 1600)
	take := func(begin, end int) error {
		if err := send(topic, sent[begin:end], config()); err != nil {
			return err
		}
		return checks.Until(fmt.Sprintf("%d records read", end), func() bool {
			_, one := first.has()
			_, other := second.has()
			return one+other >= end
		})
	}
	assigned := func(ofFirst, ofSecond int) error {
		return checks.Until(fmt.Sprintf("%d and %d partitions", ofFirst, ofSecond), func() bool {
			one, _ := first.has()
			other, _ := second.has()
			return one == ofFirst && other == ofSecond
		})
	}
	if err := take(0, 400); err != nil {
		return err
	}
	if second, err = join(ctx, topic); err != nil {
		return err
	}
	if err := assigned(2, 2); err != nil {
		return err
	}
	if err := take(400, 1200); err != nil {
		return err
	}
	if err := first.leave(); err != nil {
		return err
	}
	if err := assigned(2, 4); err != nil {
		return err
	}
	if err := take(1200, 1600); err != nil {
		return err
	}
	if err := second.leave(); err != nil {
		return err
	}
	if first.read <= 400 || second.read <= 400 {
		return fmt.Errorf("one of two members read everything: %d and %d", first.read, second.read)
	}
	for value, times := range second.times {
		first.times[value] += times
	}
	return errors.Join(checks.EachOnce(sent, first.times), admin.DeleteConsumerGroup(topic))
}

func seekByTime(ctx context.Context) error {
	const topic = name + "-time"
	if err := create(topic, 1); err != nil {
		return err
	}
	begin := time.Now().Add(-time.Hour).UnixMilli()
	producer, err := sarama.NewSyncProducer(checks.Bootstrap, config())
	if err != nil {
		return err
	}
	defer producer.Close()
	stamped := messages(topic, checks.Records(name, 0, 100))
	for i, message := range stamped {
		message.Timestamp = time.UnixMilli(begin + int64(i)*1000)
	}
	if err := producer.SendMessages(stamped); err != nil {
		return err
	}
	client, err := sarama.NewClient(checks.Bootstrap, config())
	if err != nil {
		return err
	}
	defer client.Close()
	for at, want := range map[int64]int64{begin + 49_001: 50, begin + 50_000: 50, begin + 100_000: -1} {
		if offset, err := client.GetOffset(topic, 0, at); err != nil || offset != want {
			return fmt.Errorf("offset %d instead of %d: %w", offset, want, err)
		}
	}
	read, err := readFrom(ctx, topic, 1, 50, 50, config())
	if err != nil {
		return err
	}
	return checks.Same(checks.Records(name, 50, 100), read)
}

func leaderKilled(ctx context.Context) error {
	const topic, total = name + "-kill", 3000
	if err := create(topic, 3); err != nil {
		return err
	}
	leader := int32(0)
	for _, partition := range partitionsOf(topic) {
		if partition.ID == 0 {
			leader = partition.Leader
		}
	}
	type outcome struct {
		read []checks.Pair
		err  error
	}
	followed := make(chan outcome, 1)
	go func() {
		read, err := readTopic(ctx, topic, 3, total)
		followed <- outcome{read, err}
	}()
	config := config()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewAsyncProducer(checks.Bootstrap, config)
	if err != nil {
		return err
	}
	delivered := make(chan error, 1)
	go func() {
		for range total {
			select {
			case <-producer.Successes():
			case err := <-producer.Errors():
				delivered <- err
				return
			case <-ctx.Done():
				delivered <- errors.New("not everything was acknowledged")
				return
			}
		}
		delivered <- nil
	}()
	var sent []checks.Pair
	for i := range total {
		pair := checks.Pair{Key: strconv.Itoa(i % 3), Value: strconv.Itoa(i)}
		sent = append(sent, pair)
		message := messages(topic, []checks.Pair{pair})[0]
		message.Partition = int32(i % 3)
		producer.Input() <- message
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
	if err := <-delivered; err != nil {
		return err
	}
	producer.AsyncClose()
	during := <-followed
	if during.err != nil {
		return fmt.Errorf("during the kill: %w", during.err)
	}
	if err := checks.Same(sent, during.read); err != nil {
		return fmt.Errorf("during the kill: %w", err)
	}
	read, err := readTopic(ctx, topic, 3, total)
	if err != nil {
		return err
	}
	return checks.Same(sent, read)
}

func transactions(ctx context.Context) error {
	const source, target = name + "-source", name + "-target"
	if err := errors.Join(create(source, 1), create(target, 2)); err != nil {
		return err
	}
	sent := checks.Records(name, 0, 100)
	if err := send(source, sent, config()); err != nil {
		return err
	}
	transactional := config()
	transactional.Producer.Idempotent = true
	transactional.Producer.Transaction.ID = name
	transactional.Producer.Transaction.Timeout = 30 * time.Second
	transactional.Net.MaxOpenRequests = 1
	first, err := sarama.NewSyncProducer(checks.Bootstrap, transactional)
	if err != nil {
		return err
	}
	write := func(producer sarama.SyncProducer, pairs []checks.Pair, end int64) error {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		if err := producer.SendMessages(messages(target, pairs)); err != nil {
			return err
		}
		if end == 0 {
			return producer.AbortTxn()
		}
		offsets := map[string][]*sarama.PartitionOffsetMetadata{source: {{Partition: 0, Offset: end}}}
		if err := producer.AddOffsetsToTxn(offsets, source); err != nil {
			return err
		}
		return producer.CommitTxn()
	}
	if err := write(first, sent[:60], 60); err != nil {
		return err
	}
	if err := write(first, checks.Records("aborted", 0, 40), 0); err != nil {
		return err
	}
	// Another with the same id fences it.
	second, err := sarama.NewSyncProducer(checks.Bootstrap, transactional)
	if err != nil {
		return err
	}
	if err := write(second, sent[60:], 100); err != nil {
		return err
	}
	if err := write(first, checks.Records("zombie", 0, 1), 100); err == nil {
		return errors.New("the first producer was not fenced")
	}
	if err := second.Close(); err != nil {
		return err
	}
	offsets, err := admin.ListConsumerGroupOffsets(source, map[string][]int32{source: {0}})
	if err != nil {
		return err
	}
	if block := offsets.GetBlock(source, 0); block == nil || block.Offset != 100 {
		return fmt.Errorf("the group's offset: %+v", block)
	}
	committed := config()
	committed.Consumer.IsolationLevel = sarama.ReadCommitted
	read, err := readFrom(ctx, target, 2, sarama.OffsetOldest, 100, committed)
	if err != nil {
		return fmt.Errorf("read_committed: %w", err)
	}
	if err := checks.Same(sent, read); err != nil {
		return err
	}
	_, err = readTopic(ctx, target, 2, 140)
	return err
}

func main() {
	var err error
	if admin, err = sarama.NewClusterAdmin(checks.Bootstrap, config()); err != nil {
		panic(err)
	}
	checks.Tell("admin", administer)
	for _, name := range checks.Codecs {
		checks.Tell(name, func(ctx context.Context) error { return codec(ctx, name) })
	}
	checks.Tell("group", group)
	checks.Tell("time", seekByTime)
	checks.Tell("transactions", transactions)
	checks.Tell("kill", leaderKilled)
}
