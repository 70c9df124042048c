package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/kvd-db/kvd/client"
)

func ExampleAdmin() {
	c, stop := connect()
	defer stop()
	nodes, err := c.Admin().Nodes(context.Background())
	fmt.Println(len(nodes), err)
	// Output: 3 <nil>
}

func ExampleClient() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if err := c.Admin().CreateKeyspace(ctx, "users", client.ByHash(4)); err != nil {
		log.Fatal(err)
	}
	users := c.In("users") // shares the connections
	_, err := users.Put(ctx, []byte("ann"), []byte("{}"))
	fmt.Println(users.Keyspace(), err)
	// Output: users <nil>
}

func ExampleOption() {
	target, stop := cluster()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, target,
		client.WithLocality("region=eu,zone=b"), // reads of the past go to replicas nearby
		client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.Put(ctx, []byte("k"), []byte("v"))
	fmt.Println(err)
	// Output: <nil>
}

func ExampleKeyspaceOption() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	err := c.Admin().CreateKeyspace(ctx, "audit", client.ByRange(), client.WithRetention(48*time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	all, err := c.Admin().Keyspaces(ctx)
	for _, k := range all {
		if k.Name == "audit" {
			fmt.Println(k.Retention, err)
		}
	}
	// Output: 48h0m0s <nil>
}

// past writes a key twice, and returns the first commit.
func past(c *client.Client) client.Commit {
	first, err := c.Put(context.Background(), []byte("k"), []byte("old"))
	if err == nil {
		_, err = c.Put(context.Background(), []byte("k"), []byte("new"))
	}
	if err != nil {
		log.Fatal(err)
	}
	return first
}

func ExampleReadOption() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	was := client.WithBound(client.At(past(c).Timestamp)) // for reads of one key and for scans
	p, err := c.Get(ctx, []byte("k"), was)
	fmt.Println(string(p.Value), err)
	for p, err := range c.Scan(ctx, client.All(), was, client.Limit(1)) {
		fmt.Println(string(p.Value), err)
	}
	// Output:
	// old <nil>
	// old <nil>
}

func ExampleFixedBound() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	first := past(c)
	for _, b := range []client.FixedBound{client.Strong(), client.At(first.Timestamp)} {
		v, err := client.ViewValue(ctx, c, func(ctx context.Context, s *client.Snapshot) (string, error) {
			p, err := s.Get(ctx, []byte("k"))
			return string(p.Value), err
		}, client.WithSnapshotBound(b))
		fmt.Println(v, err)
	}
	// Output:
	// new <nil>
	// old <nil>
}

func ExampleSnapshotOption() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	first := past(c)
	s, err := c.Snapshot(ctx, client.WithSnapshotBound(client.At(first.Timestamp)))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(s.Timestamp() == first.Timestamp)
	// Output: true
}

func ExampleBound() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	commit, err := c.Put(ctx, []byte("k"), []byte("mine"))
	if err != nil {
		log.Fatal(err)
	}
	// Another process that was given the timestamp reads what was written, at any replica.
	p, err := c.Get(ctx, []byte("k"), client.WithBound(client.NotBefore(commit.Timestamp)))
	fmt.Println(string(p.Value), err)
	// One that has been told nothing says how old it may be.
	p, err = c.Get(ctx, []byte("k"), client.WithBound(client.AtMostStale(0)))
	fmt.Println(string(p.Value), err)
	// Output:
	// mine <nil>
	// mine <nil>
}

// A function that takes any bound hands it on.
func ExampleAnyBound() {
	c, stop := connect()
	defer stop()
	first := past(c)
	fmt.Println(read(c, "k", client.Strong()), read(c, "k", client.NotBefore(first.Timestamp)) != "")
	// Output: new true
}

func read[B client.AnyBound](c *client.Client, key string, b B) string {
	p, err := c.Get(context.Background(), []byte(key), client.WithBound(b))
	if err != nil {
		log.Fatal(err)
	}
	return string(p.Value)
}

func ExampleTimestamp() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	first := past(c)
	second, err := c.Put(ctx, []byte("k"), []byte("newer"))
	if err != nil {
		log.Fatal(err)
	}
	age := time.Since(time.UnixMilli(first.Timestamp.UnixMillis()))
	fmt.Println(first.Timestamp < second.Timestamp, age < time.Hour)
	// Output: true true
}

func ExampleTxID() {
	c, stop := connect()
	defer stop()
	commit, err := c.Put(context.Background(), []byte("k"), []byte("v"))
	fmt.Println(len(commit.ID), len(commit.ID.String()), err) // in hexadecimal
	// Output: 16 32 <nil>
}

func ExampleCommit() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	commit, err := c.Update(ctx, func(_ context.Context, tx *client.Tx) error {
		tx.Put([]byte("a"), []byte("1"))
		tx.Put([]byte("b"), []byte("2"))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Get(ctx, []byte("b"))
	fmt.Println(p.Version == commit.Timestamp, err)
	// Output: true <nil>
}

func ExampleTxStats() {
	c, stop := connect()
	defer stop()
	commit, err := c.Update(context.Background(), func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.GetMany(ctx, []byte("a"), []byte("b")); err != nil {
			return err
		}
		tx.Put([]byte("a"), []byte("1"))
		return nil
	})
	s := commit.Stats
	fmt.Println(s.Attempts, s.ReadKeys, s.WrittenKeys, s.Partitions, s.OnePhase, err)
	// Output: 1 2 1 1 true <nil>
}

func ExampleTxOption() {
	c, stop := connect()
	defer stop()
	_, err := c.Update(context.Background(), func(_ context.Context, tx *client.Tx) error {
		tx.Add([]byte("n"), 1)
		return nil
	}, client.WithTag("count"), client.WithMaxAttempts(10))
	fmt.Println(err)
	// Output: <nil>
}

// Work that can wait gives way to work that cannot, until it is an hour old.
func ExamplePriority() {
	c, stop := connect()
	defer stop()
	_, err := c.Update(context.Background(), func(_ context.Context, tx *client.Tx) error {
		tx.Put([]byte("report"), []byte("done"))
		return nil
	}, client.WithPriority(client.PriorityLow))
	fmt.Println(err)
	// Output: <nil>
}

func ExampleHooks() {
	target, stop := cluster()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, target, client.WithHooks(client.Hooks{
		TxStart: func(ctx context.Context, _ client.TxID, tag string) context.Context {
			fmt.Println("begins:", tag)
			return ctx
		},
		TxEnd: func(_ context.Context, c client.Commit, err error) {
			fmt.Println("ends:", c.Stats.Attempts, err)
		},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.Update(ctx, func(_ context.Context, tx *client.Tx) error {
		tx.Put([]byte("k"), []byte("v"))
		return nil
	}, client.WithTag("greet"))
	fmt.Println(err)
	// Output:
	// begins: greet
	// ends: 1 <nil>
	// <nil>
}

func ExampleTopologyEvent() {
	target, stop := cluster()
	defer stop()
	maps := 0
	c, err := client.Open(context.Background(), target, client.WithHooks(client.Hooks{
		Topology: func(e client.TopologyEvent) {
			if e.Kind == "map" {
				maps++
			}
		},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(maps > 0)
	// Output: true
}

// traced is what a transaction of one read and one write sends.
func traced() []client.RPCInfo {
	c, stop := connect()
	defer stop()
	var trace client.Trace
	_, err := c.Update(context.Background(), func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.GetMany(ctx, []byte("k")); err != nil {
			return err
		}
		tx.Put([]byte("k"), []byte("v"))
		return nil
	}, client.WithTrace(&trace))
	if err != nil {
		log.Fatal(err)
	}
	return trace.Spans
}

func ExampleRPCInfo() {
	for _, i := range traced() {
		fmt.Println(i.Method, i.Role, i.Elapsed > 0, i.Err)
	}
	// Output:
	// read reader true <nil>
	// commit anchor true <nil>
}

func ExampleRole() {
	for _, i := range traced() {
		switch i.Role {
		case client.RoleAnchor, client.RoleParticipant:
			fmt.Println("writes:", i.Method)
		case client.RoleReader:
			fmt.Println("reads:", i.Method)
		}
	}
	// Output:
	// reads: read
	// writes: commit
}

func ExampleSpent() {
	for _, i := range traced() {
		known := i.Spent.LockWait + i.Spent.Draw + i.Spent.Consensus + i.Spent.Storage
		fmt.Println(i.Method, "and the network:", i.Elapsed >= known)
	}
	// Output:
	// read and the network: true
	// commit and the network: true
}
