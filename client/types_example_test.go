package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// fragile is connect with a switch: from the call of lose on, no answer to a commit arrives until mend is called.
// done is called when a commit happens.
func fragile() (c *client.Client, lose func(done func()), mend, stop func()) {
	w, err := startWorld(3)
	if err != nil {
		log.Fatal(err)
	}
	c, err = client.Open(context.Background(), w.target())
	if err != nil {
		log.Fatal(err)
	}
	lose = func(done func()) {
		w.do(func() {
			w.fault = func(_ *node, q *kv.Request) fault {
				if q.Commit != nil {
					done() // nobody sees the world before it is executed
				}
				if q.Commit != nil || q.Outcome != nil {
					return silent
				}
				return none
			}
		})
	}
	mend = func() { w.do(func() { w.fault = nil }) }
	return c, lose, mend, func() { c.Close(); w.stop() }
}

func ExampleAmbiguousError() {
	c, lose, mend, stop := fragile()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lose(cancel) // patience ends after the commit, and before its answer
	_, err := c.Put(ctx, []byte("k"), []byte("v"))
	var unknown *client.AmbiguousError
	if !errors.As(err, &unknown) {
		log.Fatal(err)
	}
	mend()
	outcome, err := c.OutcomeOf(context.Background(), unknown.Token) // of any client, in any process
	fmt.Println(outcome, err)
	// Output: committed <nil>
}

func ExampleOutcome() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	commit, err := c.Put(ctx, []byte("k"), []byte("v"))
	if err != nil {
		log.Fatal(err)
	}
	switch outcome, err := c.Outcome(ctx, commit.ID); outcome {
	case client.Committed, client.Aborted:
		fmt.Println(outcome, "for ever")
	case client.Unknown:
		fmt.Println("ask again later:", err)
	}
	// Output: committed for ever
}

func ExampleConflictError() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.GetMany(ctx, []byte("seat")); err != nil {
			return err
		}
		if _, err := c.Put(ctx, []byte("seat"), []byte("another's")); err != nil { // by somebody else
			return err
		}
		tx.Put([]byte("seat"), []byte("mine"))
		return nil
	}, client.WithMaxAttempts(2))
	var conflict *client.ConflictError
	if errors.As(err, &conflict) {
		fmt.Printf("%s was overtaken in all %d attempts\n", conflict.Key, conflict.Attempts)
	}
	// Output: seat was overtaken in all 2 attempts
}

func ExampleLimitError() {
	c, stop := connect()
	defer stop()
	_, err := c.Put(context.Background(), []byte("k"), make([]byte, 9<<20))
	var limit *client.LimitError
	if errors.As(err, &limit) {
		fmt.Println(limit.What, limit.Got, "of", limit.Limit)
	}
	fmt.Println(err)
	// Output:
	// value bytes 9437184 of 8388608
	// kv: value bytes is 9437184, the limit is 8388608: store the value in parts
}

func ExampleTooOldError() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	_, err := c.Get(ctx, []byte("k"), client.WithBound(client.StaleBy(100*365*24*time.Hour)))
	var old *client.TooOldError
	if errors.As(err, &old) {
		fmt.Println("the oldest that can be read is known:", old.Oldest != 0)
	}
	fmt.Println(errors.Is(err, client.ErrTooOld))
	// Output:
	// the oldest that can be read is known: false
	// true
}

func ExampleExpectationError() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if _, err := c.Put(ctx, []byte("state"), []byte("shipped")); err != nil {
		log.Fatal(err)
	}
	_, err := c.Update(ctx, func(_ context.Context, tx *client.Tx) error {
		tx.Put([]byte("state"), []byte("paid"), client.If(client.ValueIs([]byte("ordered"))))
		return nil
	})
	var found *client.ExpectationError
	if errors.As(err, &found) {
		fmt.Printf("%s is %s already\n", found.Key, found.Actual.Value)
	}
	// Output: state is shipped already
}

func ExampleError() {
	c, stop := connect()
	defer stop()
	_, err := c.In("nowhere").Get(context.Background(), []byte("k"))
	var plain *client.Error
	fmt.Println(errors.As(err, &plain), errors.Is(err, client.ErrNoKeyspace), kv.KindOf(err))
	// Output: true true not found
}

func ExampleExpect() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	first, err := c.CompareAndSet(ctx, []byte("k"), client.Absent(), []byte("1"))
	fmt.Println(err)
	_, err = c.CompareAndSet(ctx, []byte("k"), client.VersionIs(first.Timestamp), []byte("2"))
	fmt.Println(err)
	_, err = c.CompareAndSet(ctx, []byte("k"), client.ValueIs([]byte("1")), []byte("3"))
	fmt.Println(errors.Is(err, client.ErrCAS))
	// Output:
	// <nil>
	// <nil>
	// true
}

func ExampleWriteOption() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	onlyNew := client.If(client.Absent())
	for range 2 {
		_, err := c.Put(ctx, []byte("k"), []byte("v"), onlyNew)
		fmt.Println(errors.Is(err, client.ErrCAS))
	}
	// Output:
	// false
	// true
}

func ExampleBatch() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	keys := []string{"a", "b", "c"}
	err := c.Do(ctx, func(b *client.Batch) { // few messages, but no transaction
		for _, k := range keys {
			b.Put([]byte(k), []byte("v"))
		}
	})
	n, _ := c.Count(ctx, client.All())
	fmt.Println(n, err)
	// Output: 3 <nil>
}

func ExampleResult() {
	c, stop := connect()
	defer stop()
	var got *client.Result[client.Pair]
	err := c.Do(context.Background(), func(b *client.Batch) {
		got = b.Get([]byte("nothing"))
		_, early := got.Value()
		fmt.Println(errors.Is(early, client.ErrNotSent))
	})
	_, missing := got.Value()
	fmt.Println(err, errors.Is(missing, client.ErrNotFound))
	// Output:
	// true
	// <nil> true
}

func ExamplePair() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	commit, err := c.Put(ctx, []byte("k"), []byte("v"))
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Get(ctx, []byte("k"))
	fmt.Printf("%s = %s, of that commit: %t, %v\n", p.Key, p.Value, p.Version == commit.Timestamp, err)
	// Output: k = v, of that commit: true, <nil>
}

func ExampleRange() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for _, k := range []string{"a", "b/1", "b/2", "c"} {
		if _, err := c.Put(ctx, []byte(k), nil); err != nil {
			log.Fatal(err)
		}
	}
	for _, r := range []client.Range{client.All(), client.Prefix([]byte("b/")), client.Key([]byte("a")), {Start: []byte("b/2"), End: []byte("d")}} {
		n, err := c.Count(ctx, r)
		fmt.Println(n, err)
	}
	// Output:
	// 4 <nil>
	// 2 <nil>
	// 1 <nil>
	// 2 <nil>
}

func ExampleScanOption() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for _, k := range []string{"a", "b", "c"} {
		if _, err := c.Put(ctx, []byte(k), []byte("a long value")); err != nil {
			log.Fatal(err)
		}
	}
	for p, err := range c.Scan(ctx, client.All(), client.Reverse(), client.Limit(2), client.KeysOnly()) {
		fmt.Println(string(p.Key), len(p.Value), err)
	}
	// Output:
	// c 0 <nil>
	// b 0 <nil>
}

func ExampleScheme() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for name, s := range map[string]client.Scheme{
		"ordered": client.ByRange([]byte("h"), []byte("q")), // three partitions, in key order
		"spread":  client.ByHash(8),
	} {
		if err := c.Admin().CreateKeyspace(ctx, name, s); err != nil {
			log.Fatal(err)
		}
	}
	parts, err := c.In("ordered").Admin().Partitions(ctx)
	fmt.Println(len(parts), err)
	// Output: 3 <nil>
}
