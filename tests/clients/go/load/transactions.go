package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func transactions(ctx context.Context) (figures, error) {
	if err := remake(ctx); err != nil {
		return nil, err
	}
	var done atomic.Int64
	var took times
	var wrong outcome
	var all sync.WaitGroup
	// Every producer has had a transaction before the time begins: coordinators and partitions are found.
	var ready sync.WaitGroup
	ready.Add(*producers)
	begin := make(chan time.Time)
	for i := range *producers {
		all.Go(func() {
			err := transact(ctx, fmt.Sprintf("%s-%d", *topic, i), &ready, begin, &took, &done)
			wrong.note(err)
		})
	}
	ready.Wait()
	account, began := started(), time.Now()
	for range *producers {
		begin <- began.Add(*duration)
	}
	all.Wait()
	if err := wrong.err(); err != nil {
		return nil, err
	}
	lasted := time.Since(began)
	shown := figures{"transactions": done.Load(), "producers": *producers, "records": *records}
	shown["transactions_per_s"] = float64(done.Load()) / lasted.Seconds()
	account.told(shown, lasted, done.Load()*int64(*records)*int64(*size))
	took.told(shown, "transaction")
	return shown, nil
}

// transact has one transaction, and then as many as it can until a time.
func transact(ctx context.Context, id string, ready *sync.WaitGroup, begin <-chan time.Time, took *times, done *atomic.Int64) error {
	producer, err := client(kgo.TransactionalID(id), kgo.ProducerLinger(0))
	if err == nil {
		defer producer.Close()
		err = transaction(ctx, producer)
	}
	ready.Done()
	end := <-begin
	for err == nil && time.Now().Before(end) {
		began := time.Now()
		if err = transaction(ctx, producer); err == nil {
			took.add(time.Since(began))
			done.Add(1)
		}
	}
	return err
}

func transaction(ctx context.Context, producer *kgo.Client) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	var wrong outcome
	value := make([]byte, *size)
	for range *records {
		producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { wrong.note(err) })
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	if err := wrong.err(); err != nil {
		return err
	}
	return producer.EndTransaction(ctx, kgo.TryCommit)
}
