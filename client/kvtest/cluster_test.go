package kvtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// increment is a transaction that reads and writes.
func increment(ctx context.Context, tx *client.Tx, key string) error {
	n := 0
	p, err := tx.Get(ctx, []byte(key))
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return err
	}
	fmt.Sscan(string(p.Value), &n)
	tx.Put([]byte(key), fmt.Append(nil, n+1))
	return nil
}

func value(t *testing.T, c *client.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := c.Get(ctx, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Value)
}

// TestServer: transactions of one partition on a real node, under conflict.
func TestServer(t *testing.T) {
	c := kvtest.NewServer(t).Client()
	const workers, each = 4, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error { return increment(ctx, tx, "n") }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v := value(t, c, "n"); v != fmt.Sprint(workers*each) {
		t.Errorf("the sum is %s", v)
	}
	_, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
		for p, err := range tx.Scan(ctx, client.All(), client.Reverse()) {
			if err != nil {
				return err
			}
			tx.Put(append(p.Key, '2'), p.Value)
		}
		tx.DeleteRange(client.Key([]byte("n")))
		tx.Add([]byte("n3"), 5)
		return nil
	})
	var got []string
	for p, err := range c.Scan(t.Context(), client.All()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s=%s", p.Key, p.Value))
	}
	if s := fmt.Sprint(got); err != nil || s != "[n2=40 n3=5]" {
		t.Errorf("%s, %v", s, err)
	}
	// What changes in a range that was read is a conflict, as at any node.
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range tx.Scan(t.Context(), client.Prefix([]byte("m"))) {
		t.Error("there is nothing")
	}
	if _, err := c.Put(t.Context(), []byte("m1"), nil); err != nil {
		t.Fatal(err)
	}
	tx.Put([]byte("z"), nil)
	if _, err := tx.Commit(t.Context()); !errors.Is(err, client.ErrConflict) {
		t.Errorf("a phantom: %v", err)
	}
}

func TestFailNextCommit(t *testing.T) {
	cluster := kvtest.NewServer(t)
	c := cluster.Client()
	if _, err := c.Put(t.Context(), []byte("n"), []byte("0")); err != nil {
		t.Fatal(err)
	}
	runs, told := 0, 0
	add := func() {
		t.Helper()
		if _, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
			runs++
			tx.OnCommit(func(client.Commit) { told++ })
			return increment(ctx, tx, "n")
		}); err != nil {
			t.Error(err)
		}
	}
	cluster.FailNextCommit(kvtest.BeforeCommitPoint)
	if add(); runs != 2 || told != 1 || value(t, c, "n") != "1" {
		t.Errorf("before the commit point: run %d times, told %d times, n = %s", runs, told, value(t, c, "n"))
	}
	cluster.FailNextCommit(kvtest.AfterCommitPoint)
	if add(); runs != 3 || told != 2 || value(t, c, "n") != "2" {
		t.Errorf("after the commit point: run %d times, told %d times, n = %s", runs, told, value(t, c, "n"))
	}
	cluster.FailNextCommit(kvtest.BeforeCommitPoint)
	if _, err := c.Put(t.Context(), []byte("n"), nil); !errors.Is(err, client.ErrConflict) {
		t.Errorf("a single write: %v", err)
	}
}

// TestCluster kills, restarts and cuts off the node that leads.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for elections")
	}
	cluster := kvtest.NewCluster(t, 3)
	c := cluster.Client()
	want := 0
	add := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		want++
		if _, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error { return increment(ctx, tx, "n") }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if v := value(t, c, "n"); v != fmt.Sprint(want) {
			t.Fatalf("%s: n = %s, not %d", what, v, want)
		}
	}
	add("at first")
	cluster.MoveLeader(client.KeyspaceDefault, []byte("n"), 1)
	add("after the leader moved")
	cluster.Partition(1)
	add("without the leader")
	cluster.Heal(1)
	add("after it is back")
	cluster.MoveLeader(client.KeyspaceDefault, []byte("n"), 2)
	cluster.Kill(2)
	add("after the leader was killed")
	cluster.Restart(2)
	cluster.MoveLeader(client.KeyspaceDefault, []byte("n"), 2)
	add("after it leads again")
}

// TestExamples: what the examples show works.
func TestExamples(t *testing.T) {
	t.Run("paysOnce", paysOnce)
	t.Run("survives", survives)
}

// TestHolder: a conflict names the transaction that was in the way, at a key and in a range.
func TestHolder(t *testing.T) {
	c := kvtest.NewServer(t).Client()
	for what, read := range map[string]func(tx *client.Tx) error{
		"a key": func(tx *client.Tx) error { _, err := tx.GetMany(t.Context(), []byte("k")); return err },
		"a range": func(tx *client.Tx) error {
			for _, err := range tx.Scan(t.Context(), client.Prefix([]byte("k"))) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := read(tx); err != nil {
			t.Fatal(err)
		}
		tx.Put([]byte("other"), nil)
		by, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			tx.Put([]byte("k"), nil)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tx.Commit(t.Context())
		var conflict *client.ConflictError
		if !errors.As(err, &conflict) || string(conflict.Key) != "k" || conflict.Holder != by.ID {
			t.Errorf("%s: %v, holder %v, want %v", what, err, conflict.Holder, by.ID)
		}
	}
}
