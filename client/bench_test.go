package client_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// BenchmarkGet and BenchmarkPut go through a real gRPC connection to the model in the same
// process: client and server together, the model's own work included.
func BenchmarkGet(b *testing.B) {
	for _, workers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			w := newWorld(b, 1)
			c := w.open(b)
			key, value := []byte("key-0123456789"), make([]byte, 100)
			if _, err := c.Put(b.Context(), key, value); err != nil {
				b.Fatal(err)
			}
			parallel(b, workers, func(int64) error {
				_, err := c.Get(b.Context(), key)
				return err
			})
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, workers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			w := newWorld(b, 1)
			c := w.open(b)
			value := make([]byte, 100)
			w.fault = func(*node, *kv.Request) fault { // keeps the model small
				p := w.partOf("default", "k")
				if len(p.done) > 10_000 {
					clear(p.rows)
					clear(p.done)
					clear(p.seen)
					clear(w.executed)
				}
				return none
			}
			parallel(b, workers, func(i int64) error {
				_, err := c.Put(b.Context(), fmt.Appendf(nil, "key-%d", i%1000), value)
				return err
			})
		})
	}
}

// parallel runs op b.N times by a number of workers.
func parallel(b *testing.B, workers int, op func(i int64) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	done := make(chan error, workers)
	for range workers {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					done <- nil
					return
				}
				if err := op(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
