package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// outcome keeps the first error of many callbacks.
type outcome struct{ first atomic.Pointer[error] }

func (o *outcome) note(err error) {
	if err != nil {
		o.first.CompareAndSwap(nil, &err)
	}
}

func (o *outcome) err() error {
	if first := o.first.Load(); first != nil {
		return *first
	}
	return nil
}

func produce(ctx context.Context) (figures, error) {
	if err := remake(ctx); err != nil {
		return nil, err
	}
	producer, err := client(kgo.MaxBufferedBytes(*inFlight), kgo.MaxBufferedRecords(1<<30), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	value := make([]byte, *size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	count := *bytes / int64(*size)
	var took times
	var wrong outcome
	account, began := started(), time.Now()
	for range count {
		sent := time.Now()
		producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			wrong.note(err)
			took.add(time.Since(sent))
		})
	}
	if err := producer.Flush(ctx); err != nil {
		return nil, err
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	shown := figures{"records": count}
	account.told(shown, time.Since(began), count*int64(*size))
	took.told(shown, "ack")
	return shown, nil
}

// places are the topic's partitions, from their beginning, and how many records they hold.
func places(ctx context.Context) (map[int32]kgo.Offset, int64, error) {
	plain, err := client()
	if err != nil {
		return nil, 0, err
	}
	defer plain.Close()
	ends, err := kadm.NewClient(plain).ListEndOffsets(ctx, *topic)
	if err != nil {
		return nil, 0, err
	}
	from, count := map[int32]kgo.Offset{}, int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		from[end.Partition] = kgo.NewOffset().AtStart()
		count += end.Offset
	})
	return from, count, ends.Error()
}

func reader(from map[int32]kgo.Offset, options ...kgo.Opt) (*kgo.Client, error) {
	where := kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{*topic: from})
	return client(append(options, where)...)
}

func consume(ctx context.Context) (figures, error) {
	from, count, err := places(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := reader(from)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	var read, values int64
	account, began := started(), time.Now()
	for read < count {
		fetched := consumer.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("%d of %d records read: %w", read, count, err)
		}
		fetched.EachRecord(func(record *kgo.Record) {
			read++
			values += int64(len(record.Value))
		})
	}
	shown := figures{"records": read}
	account.told(shown, time.Since(began), values)
	return shown, nil
}

func latency(ctx context.Context) (figures, error) {
	if err := remake(ctx); err != nil {
		return nil, err
	}
	from, _, err := places(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := reader(from, kgo.FetchMaxWait(500*time.Millisecond), kgo.FetchMinBytes(1))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	producer, err := client(kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	count := int64(duration.Seconds() * float64(*rate))
	skipped := int64(warm.Seconds() * float64(*rate))
	var acknowledged, through times
	var wrong outcome
	var reading sync.WaitGroup
	reading.Go(func() {
		for read := int64(0); read < count; {
			fetched := consumer.PollFetches(ctx)
			if err := fetched.Err(); err != nil {
				wrong.note(fmt.Errorf("%d of %d records read: %w", read, count, err))
				return
			}
			fetched.EachRecord(func(record *kgo.Record) {
				if read++; read > skipped {
					through.add(since(record.Value))
				}
			})
		}
	})
	account, began := started(), time.Now()
	for i := range count {
		// Each is charged from when it was due: who stalls pays for those that had to wait.
		due := began.Add(time.Duration(i) * time.Second / time.Duration(*rate))
		if early := time.Until(due); early > 0 {
			time.Sleep(early)
		}
		producer.Produce(ctx, &kgo.Record{Value: stamped(due)}, func(_ *kgo.Record, err error) {
			wrong.note(err)
			if i >= skipped {
				acknowledged.add(time.Since(due))
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		return nil, err
	}
	reading.Wait()
	if err := wrong.err(); err != nil {
		return nil, err
	}
	shown := figures{"records": count, "rate": *rate}
	account.told(shown, time.Since(began), count*int64(*size))
	acknowledged.told(shown, "ack")
	through.told(shown, "through")
	return shown, nil
}
