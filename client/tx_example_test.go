package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"

	"github.com/kvd-db/kvd/client"
)

// balance is the number that a key holds; 0 if it is absent.
func balance(ctx context.Context, r client.Reader, key string) (int, error) {
	p, err := r.Get(ctx, []byte(key))
	if errors.Is(err, client.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(p.Value))
}

func ExampleClient_Update() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if _, err := c.Put(ctx, []byte("ann"), []byte("100")); err != nil {
		log.Fatal(err)
	}
	errPoor := errors.New("not enough money")
	transfer := func(amount int) error {
		_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
			ann, err := balance(ctx, tx, "ann")
			if err != nil {
				return err
			}
			if ann < amount {
				return errPoor // rolls back
			}
			tx.Put([]byte("ann"), strconv.AppendInt(nil, int64(ann-amount), 10))
			tx.Add([]byte("bob"), int64(amount))
			return nil
		})
		return err
	}
	fmt.Println(transfer(70))
	fmt.Println(transfer(70))
	for p, err := range c.Scan(ctx, client.All()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s has %s\n", p.Key, p.Value)
	}
	// Output:
	// <nil>
	// not enough money
	// ann has 30
	// bob has 70
}

func ExampleTx() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if err := c.Admin().CreateKeyspace(ctx, "index", client.ByHash(4)); err != nil {
		log.Fatal(err)
	}
	_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		tx.Put([]byte("user/1"), []byte("ann"))
		tx.In("index").Put([]byte("ann"), []byte("user/1"))
		tx.OnCommit(func(client.Commit) { fmt.Println("ann is welcome") })
		for p, err := range tx.Scan(ctx, client.Prefix([]byte("user/"))) { // sees what it has written
			if err != nil {
				return err
			}
			fmt.Printf("%s = %s\n", p.Key, p.Value)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// user/1 = ann
	// ann is welcome
	// <nil>
}

func ExampleClient_Begin() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	tx, err := c.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback(ctx) // without effect after Commit
	if _, err := tx.GetForUpdate(ctx, []byte("k")); !errors.Is(err, client.ErrNotFound) {
		log.Fatal(err)
	}
	tx.Put([]byte("k"), []byte("mine"))
	if _, err := c.Put(ctx, []byte("k"), []byte("another's")); err != nil {
		log.Fatal(err)
	}
	_, err = tx.Commit(ctx)
	var overtaken *client.ConflictError
	if errors.As(err, &overtaken) {
		fmt.Printf("key %q was overtaken\n", overtaken.Key)
	}
	// Output: key "k" was overtaken
}

func ExampleSnapshot() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	put := func(v string) {
		if _, err := c.Put(ctx, []byte("k"), []byte(v)); err != nil {
			log.Fatal(err)
		}
	}
	put("old")
	s, err := c.Snapshot(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	put("new")
	p, err := s.Get(ctx, []byte("k"))
	fmt.Println(string(p.Value), err)

	again, err := c.Snapshot(ctx, client.WithSnapshotBound(client.At(s.Timestamp())))
	if err != nil {
		log.Fatal(err)
	}
	p, err = again.Get(ctx, []byte("k"))
	fmt.Println(string(p.Value), err)
	// Output:
	// old <nil>
	// old <nil>
}

func ExampleClient_View() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for _, k := range []string{"a", "b"} {
		if _, err := c.Put(ctx, []byte(k), []byte("50")); err != nil {
			log.Fatal(err)
		}
	}
	sum, err := client.ViewValue(ctx, c, func(ctx context.Context, s *client.Snapshot) (sum int, err error) {
		for _, k := range []string{"a", "b"} { // one state, however many reads
			n, err := balance(ctx, s, k)
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	fmt.Println(sum, err)
	// Output: 100 <nil>
}

func ExampleUpdateValue() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	next := func(ctx context.Context, tx *client.Tx) (int, error) {
		tx.Add([]byte("sequence"), 1)
		return balance(ctx, tx, "sequence")
	}
	for range 2 {
		n, _, err := client.UpdateValue(ctx, c, next)
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}

func ExampleReader() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	count := func(ctx context.Context, r client.Reader) (n int, err error) {
		for _, err := range r.Scan(ctx, client.All(), client.KeysOnly()) {
			if err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	}
	_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		tx.Put([]byte("a"), nil)
		n, err := count(ctx, tx)
		fmt.Println(n, "in the transaction")
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	n, err := client.ViewValue(ctx, c, func(ctx context.Context, s *client.Snapshot) (int, error) { return count(ctx, s) })
	fmt.Println(n, "in a snapshot", err)
	// Output:
	// 1 in the transaction
	// 1 in a snapshot <nil>
}

func ExampleTrace() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	var trace client.Trace
	_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.GetMany(ctx, []byte("a"), []byte("b")); err != nil {
			return err
		}
		tx.Put([]byte("a"), nil)
		return nil
	}, client.WithTrace(&trace), client.WithTag("example"), client.WithMaxAttempts(3), client.WithPriority(client.PriorityHigh))
	for _, s := range trace.Spans {
		fmt.Println(s.Method)
	}
	fmt.Println(trace.Attempts, err)
	// Output:
	// read
	// commit
	// 1 <nil>
}
