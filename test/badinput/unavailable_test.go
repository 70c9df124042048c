package badinput

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/test/cluster"
)

// TestLostMajority: with two of three nodes gone nothing can be promised, and that is what is
// said, within the deadline. Nothing is lost by it.
func TestLostMajority(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 3)
	c.WaitHealthy(t)
	c.MustCLI(t, "keyspace", "create", "spread", "--scheme", "hash", "--partitions", "2")
	c.MustCLI(t, "put", "k", "v")
	c.MustCLI(t, "--keyspace", "spread", "put", "k", "v")
	c.Nodes[0].Kill(t)
	c.Nodes[1].Kill(t)
	for _, args := range [][]string{
		{"put", "k", "w"},
		{"get", "k"},
		{"add", "n", "1"},
		{"cas", "k", "--expect-value", "v", "w"},
		{"del", "k"},
		{"--keyspace", "spread", "get", "k"},
		{"--keyspace", "spread", "put", "k", "w"},
		{"status"},
	} {
		r := c.CLI(t, append([]string{"--timeout", "2s"}, args...)...)
		if r.Code == exitAmbiguous {
			if err := judge(r, exitAmbiguous, "may or may not", "kvcli outcome"); err != nil {
				t.Error(err)
			}
			continue // it was sent before the loss was noticed
		}
		if err := judge(r, exitUnavailable, "try again", "kvcli status"); err != nil {
			t.Error(err)
		}
	}
	c.Restart(t)
	c.WaitHealthy(t)
	for _, args := range [][]string{{"get", "k"}, {"--keyspace", "spread", "get", "k"}} {
		if got := c.MustCLI(t, append(args, "-o", "raw")...); got != "v\n" && got != "w\n" {
			t.Errorf("%v: %q after the majority came back", args, got)
		}
	}
	c.MustCLI(t, "put", "k", "x")
	c.Check(t)
}

// TestNobodyThere: no node at all.
func TestNobodyThere(t *testing.T) {
	skipIfShort(t)
	address := cluster.FreeAddresses(t, 1)[0]
	b := cluster.Build(t)
	if err := judge(cluster.Run(t, nil, b.KVCLI, "--target", address, "--timeout", "1s", "get", "k"), exitUnavailable, address, "try again"); err != nil {
		t.Error(err)
	}
	if err := judge(cluster.Run(t, nil, b.KVCLI, "get", "k"), exitUsage, "--target", "KVD_TARGET"); err != nil {
		t.Error(err)
	}
	if err := judge(cluster.Run(t, nil, b.KVCLI, "--target", "nonsense", "get", "k"), exitUsage, "nonsense"); err != nil {
		t.Error(err)
	}
}

// TestNoTime: a deadline that nobody can keep.
func TestNoTime(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	for _, args := range [][]string{{"get", "k"}, {"put", "k", "w"}, {"add", "n", "1"}, {"scan"}, {"status"}, {"check"}} {
		if err := judge(c.CLI(t, append([]string{"--timeout", "1us"}, args...)...), exitTimeout, "1µs", "--timeout"); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	one := c.Client(t)
	if _, err := one.Get(ctx, []byte("k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get with a deadline of a microsecond: %v", err)
	}
	if _, err := one.Put(ctx, []byte("k"), []byte("w")); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, client.ErrAmbiguous) {
		t.Errorf("Put with a deadline of a microsecond: %v", err)
	}
	if got := c.MustCLI(t, "get", "k", "-o", "raw"); got != "v\n" {
		t.Errorf("a write that had no time has happened: %q", got)
	}
}

// TestCheckWithoutANode: a replica that cannot be asked is no difference, and is named.
func TestCheckWithoutANode(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 3)
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	n := c.Nodes[2]
	n.Kill(t)
	if err := judge(c.CLI(t, "check"), exitUnavailable, fmt.Sprintf("node %d", n.ID), "not compared"); err != nil {
		t.Error(err)
	}
	n.Restart(t)
	c.Check(t)
}
