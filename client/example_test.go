package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/kvd-db/kvd/client"
)

// cluster starts a cluster for an example.
func cluster() (target string, stop func()) {
	w, err := startWorld(3)
	if err != nil {
		log.Fatal(err)
	}
	return w.target(), w.stop
}

// connect opens a client on a cluster of its own.
func connect() (*client.Client, func()) {
	target, stop := cluster()
	c, err := client.Open(context.Background(), target)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		c.Close()
		stop()
	}
}

func Example() {
	target, stop := cluster() // "h1:7400,h2:7400,h3:7400"
	defer stop()
	ctx := context.Background()
	c, err := client.Open(ctx, target)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if _, err := c.Put(ctx, []byte("greeting"), []byte("hello")); err != nil {
		log.Fatal(err)
	}
	p, err := c.Get(ctx, []byte("greeting"))
	fmt.Println(string(p.Value), err)
	_, err = c.Get(ctx, []byte("farewell"))
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// hello <nil>
	// true
}

func ExampleClient_Scan() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for _, k := range []string{"fruit/apple", "fruit/pear", "nut/walnut"} {
		if _, err := c.Put(ctx, []byte(k), []byte("1")); err != nil {
			log.Fatal(err)
		}
	}
	for p, err := range c.Scan(ctx, client.Prefix([]byte("fruit/")), client.Reverse()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s\n", p.Key, p.Value)
	}
	n, err := c.Count(ctx, client.All())
	fmt.Println(n, err)
	// Output:
	// fruit/pear = 1
	// fruit/apple = 1
	// 3 <nil>
}

func ExampleClient_CompareAndSet() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	key := []byte("owner")
	first, err := c.CompareAndSet(ctx, key, client.Absent(), []byte("ann"))
	fmt.Println(err)
	_, err = c.CompareAndSet(ctx, key, client.Absent(), []byte("bob"))
	var found *client.ExpectationError
	if errors.As(err, &found) {
		fmt.Printf("it is %s's\n", found.Actual.Value)
	}
	_, err = c.CompareAndSet(ctx, key, client.VersionIs(first.Timestamp), []byte("bob"))
	fmt.Println(err)
	// Output:
	// <nil>
	// it is ann's
	// <nil>
}

func ExampleClient_Add() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	for range 3 {
		sum, _, err := c.Add(ctx, []byte("visits"), 2)
		fmt.Println(sum, err)
	}
	// Output:
	// 2 <nil>
	// 4 <nil>
	// 6 <nil>
}

func ExampleClient_GetMany() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if _, err := c.Put(ctx, []byte("a"), []byte("1")); err != nil {
		log.Fatal(err)
	}
	pairs, err := c.GetMany(ctx, [][]byte{[]byte("a"), []byte("b")})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range pairs {
		fmt.Printf("%s is there: %t\n", p.Key, p.Version != 0)
	}
	// Output:
	// a is there: true
	// b is there: false
}

func ExampleClient_Do() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	var done *client.Result[client.Commit]
	err := c.Do(ctx, func(b *client.Batch) {
		done = b.Put([]byte("a"), []byte("1"))
		b.Put([]byte("b"), []byte("2"))
		b.Delete([]byte("c"))
	})
	commit, _ := done.Value()
	fmt.Println(err, commit.Timestamp > 0)
	// Output: <nil> true
}

func ExampleClient_Outcome() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	_, err := c.Put(ctx, []byte("k"), []byte("v"))
	var unknown *client.AmbiguousError
	if errors.As(err, &unknown) { // the answer was lost, and the time was up
		outcome, err := c.Outcome(ctx, unknown.ID)
		fmt.Println(outcome, err)
	}
	fmt.Println(err)
	// Output: <nil>
}

func ExampleWithBound() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	first, err := c.Put(ctx, []byte("k"), []byte("old"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, []byte("k"), []byte("new")); err != nil {
		log.Fatal(err)
	}
	p, err := c.Get(ctx, []byte("k"), client.WithBound(client.At(first.Timestamp)))
	fmt.Println(string(p.Value), err)
	// Output: old <nil>
}

func ExampleAdmin_CreateKeyspace() {
	c, stop := connect()
	defer stop()
	ctx := context.Background()
	if err := c.Admin().CreateKeyspace(ctx, "users", client.ByHash(16)); err != nil {
		log.Fatal(err)
	}
	users := c.In("users")
	_, err := users.Put(ctx, []byte("ann"), []byte("{}"))
	fmt.Println(err)
	parts, err := users.Admin().Partitions(ctx)
	fmt.Println(len(parts), err)
	// Output:
	// <nil>
	// 16 <nil>
}
