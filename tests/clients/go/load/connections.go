package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// connected opens connections that have asked one thing (ApiVersions), and tells what each costs the servers in memory.
// Busy ones then produce a record in turn, at the rate, each waiting for its own answer.
func connected(ctx context.Context) (figures, error) {
	requests, err := asked(ctx)
	if err != nil {
		return nil, err
	}
	before := resident(started().processes)
	open := make([]net.Conn, 0, *connections)
	defer func() {
		for _, one := range open {
			one.Close()
		}
	}()
	addresses := strings.Split(*bootstrap, ",")
	for i := range *connections {
		one, err := net.DialTimeout("tcp", addresses[i%len(addresses)], 5*time.Second)
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		open = append(open, one)
		if err := ask(one, requests.versions); err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	shown := figures{"connections": *connections}
	account := started()
	grown := resident(account.processes) - before
	shown["bytes_per_connection"] = grown / int64(*connections)
	if *busy {
		if err := keepBusy(open, requests, shown); err != nil {
			return nil, err
		}
	}
	account.servers(shown)
	return shown, nil
}

// requests are frames that are sent as they are.
type requests struct{ versions, produce []byte }

func asked(ctx context.Context) (requests, error) {
	versions := kmsg.NewPtrApiVersionsRequest()
	framed := requests{versions: frame(versions, 0)}
	if !*busy {
		return framed, nil
	}
	if err := remake(ctx); err != nil {
		return framed, err
	}
	batch, err := oneBatch(ctx)
	if err != nil {
		return framed, err
	}
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 10_000
	of := kmsg.NewProduceRequestTopic()
	of.Topic = *topic
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	of.Partitions = append(of.Partitions, partition)
	produce.Topics = append(produce.Topics, of)
	framed.produce = frame(produce, 7)
	return framed, nil
}

func frame(request kmsg.Request, version int16) []byte {
	request.SetVersion(version)
	return kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)
}

// oneBatch is a batch of one record as a broker keeps it: without a producer's id it may be sent again and again.
func oneBatch(ctx context.Context) ([]byte, error) {
	producer, err := client(kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	record := &kgo.Record{Value: make([]byte, *size)}
	if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
		return nil, err
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes, fetch.MinBytes, fetch.ReplicaID = 11, 1<<20, 1, -1
	of := kmsg.NewFetchRequestTopic()
	of.Topic = *topic
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.PartitionMaxBytes, partition.CurrentLeaderEpoch = 1<<20, -1
	of.Partitions = append(of.Partitions, partition)
	fetch.Topics = append(fetch.Topics, of)
	response, err := fetch.RequestWith(ctx, pinned{producer})
	if err != nil {
		return nil, err
	}
	return response.Topics[0].Partitions[0].RecordBatches, nil
}

// pinned asks the first broker there is: the topic of a busy run has one node.
type pinned struct{ client *kgo.Client }

func (p pinned) Request(ctx context.Context, request kmsg.Request) (kmsg.Response, error) {
	brokers := p.client.DiscoveredBrokers()
	return brokers[0].Request(ctx, request)
}

func ask(one net.Conn, request []byte) error {
	if err := one.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := one.Write(request); err != nil {
		return err
	}
	var length [4]byte
	if _, err := io.ReadFull(one, length[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, one, int64(binary.BigEndian.Uint32(length[:])))
	return err
}

func keepBusy(open []net.Conn, requests requests, shown figures) error {
	var answered times
	var wrong outcome
	var all sync.WaitGroup
	began := time.Now()
	for i, one := range open {
		all.Go(func() {
			step := time.Duration(len(open)) * time.Second / time.Duration(*rate)
			for due := began.Add(step * time.Duration(i) / time.Duration(len(open))); due.Sub(began) < *duration; due = due.Add(step) {
				time.Sleep(time.Until(due))
				if err := ask(one, requests.produce); err != nil {
					wrong.note(fmt.Errorf("connection %d: %w", i, err))
					return
				}
				answered.add(time.Since(due))
			}
		})
	}
	all.Wait()
	shown["rate"] = *rate
	answered.told(shown, "ack")
	return wrong.err()
}
