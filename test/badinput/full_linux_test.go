package badinput

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/test/cluster"
)

// smallDisk puts a node's data on a filesystem of so many MiB; grow makes it larger.
func smallDisk(t *testing.T, n *cluster.Node, size int) (grow func(size int)) {
	t.Helper()
	if err := os.MkdirAll(n.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	options := func(size int) string { return fmt.Sprintf("size=%dm", size) }
	if err := unix.Mount("tmpfs", n.Data, "tmpfs", 0, options(size)); err != nil {
		t.Skipf("a small disk takes the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(n.Data, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", n.Data, err)
		}
	})
	return func(size int) {
		if err := unix.Mount("tmpfs", n.Data, "tmpfs", unix.MS_REMOUNT, options(size)); err != nil {
			t.Fatal(err)
		}
	}
}

// flood puts large values under keys of their own until one is refused or enough were taken. It
// returns the keys that were acknowledged, and the refusal.
func flood(t *testing.T, c *client.Client, from, most int) (taken int, err error) {
	t.Helper()
	for i := range most {
		if _, err := c.Put(t.Context(), floodKey(from+i), floodValue(from+i)); err != nil {
			return i, err
		}
	}
	return most, nil
}

const floodBytes = 200_000

func floodKey(i int) []byte   { return fmt.Appendf(nil, "flood-%06d", i) }
func floodValue(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, floodBytes) }

// readFlood insists on what was acknowledged.
func readFlood(t *testing.T, c *client.Client, n int) {
	t.Helper()
	for i := range n {
		p, err := c.Get(t.Context(), floodKey(i))
		if err != nil || !bytes.Equal(p.Value, floodValue(i)) {
			t.Fatalf("%s, which was acknowledged: %d bytes, %v", floodKey(i), len(p.Value), err)
		}
	}
}

// TestFullDisk: a cluster of one has no space left. It refuses writes with a sentence, serves
// reads, and goes on when there is space, without a restart.
func TestFullDisk(t *testing.T) {
	skipIfShort(t)
	const small, large, most = 24, 400, 1000
	c := cluster.New(t, 1)
	n := c.Nodes[0]
	grow := smallDisk(t, n, small)
	c.Restart(t)
	c.WaitHealthy(t)
	one := c.Client(t)
	taken, err := flood(t, one, 0, most)
	if err == nil {
		t.Fatalf("%d values of %d bytes went onto a disk of %d MiB", most, floodBytes, small)
	}
	t.Logf("after %d values: %v", taken, err)
	c.Eventually(t, "a refusal that names the disk", func() error {
		return judge(c.CLI(t, "put", "k", "v"), exitError, n.Data, "full", "free some space")
	})
	if _, err := one.Put(t.Context(), []byte("k"), []byte("v")); kv.KindOf(err) != kv.DiskFull {
		t.Errorf("a write to a full disk: %v", err)
	}
	readFlood(t, one, taken)
	if body, code := ready(t, n); code != http.StatusServiceUnavailable || !strings.Contains(body, n.Data) {
		t.Errorf("/readyz says %d, %q", code, body)
	}
	if s, err := c.Status(t); err != nil || s.Healthy {
		t.Errorf("the status of a cluster with a full disk: %+v, %v", s, err)
	}
	grow(large)
	c.Eventually(t, "a write after space was freed", func() error {
		_, err := one.Put(t.Context(), []byte("k"), []byte("v"))
		return err
	})
	readFlood(t, one, taken)
	c.Eventually(t, "the end of the engine's spell, if it had one", func() error {
		begun, over := strings.Count(n.Log(), "the engine is not well"), strings.Count(n.Log(), "the engine is well again")
		if begun > 2 || strings.Count(n.Log(), "background work of the store") > begun {
			t.Errorf("the engine tells of a full disk again and again:\n%s", n.LogTail())
		} else if over != begun {
			return fmt.Errorf("begun %d times, over %d times", begun, over)
		}
		return nil
	})
	n.Kill(t)
	n.Restart(t)
	readFlood(t, c.Client(t), taken)
}

func ready(t *testing.T, n *cluster.Node) (body string, code int) {
	t.Helper()
	resp, err := http.Get("http://" + n.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

// lead has a node lead the partition of the default keyspace.
func lead(t *testing.T, c *cluster.Cluster, n *cluster.Node) {
	t.Helper()
	c.Eventually(t, "a move of the leader", func() error {
		all, err := c.Partitions(t)
		for _, p := range all {
			if p.Keyspace == client.KeyspaceDefault && p.Leader != n.ID {
				err = errors.New(c.CLI(t, "move-leader", fmt.Sprint(p.ID), "--to", fmt.Sprint(n.ID)).String())
			}
		}
		return err
	})
}

// TestOneFullDisk: one node of three has no space left. It hands over what it leads, the others
// go on, and it catches up when there is space.
func TestOneFullDisk(t *testing.T) {
	skipIfShort(t)
	const small, large, most = 24, 600, 250 // the flood is twice as large as the small disk
	c := cluster.New(t, 3)
	n := c.Nodes[0]
	grow := smallDisk(t, n, small)
	c.Restart(t)
	c.WaitHealthy(t)
	lead(t, c, n)
	one, taken := c.Client(t), 0
	c.Eventually(t, "all values written", func() error {
		count, err := flood(t, one, taken, most-taken)
		taken += count
		var ambiguous *client.AmbiguousError
		if err != nil && kv.KindOf(err) != kv.DiskFull && kv.KindOf(err) != kv.Unavailable && !errors.As(err, &ambiguous) {
			t.Fatalf("after %d values: %v", taken, err)
		}
		return err
	})
	if body, code := ready(t, n); code != http.StatusServiceUnavailable || !strings.Contains(body, "full") {
		t.Errorf("/readyz says %d, %q", code, body)
	}
	c.Eventually(t, "the others lead", func() error {
		all, err := c.Partitions(t)
		for _, p := range all {
			if p.Leader == n.ID {
				err = fmt.Errorf("partition %d is led by node %d, whose disk is full", p.ID, n.ID)
			}
		}
		return err
	})
	readFlood(t, one, taken)
	grow(large)
	c.Eventually(t, "the node catches up", func() error {
		if body, code := ready(t, n); code != http.StatusOK {
			return errors.New(body)
		}
		return nil
	})
	c.WaitHealthy(t)
	c.Check(t)
	readFlood(t, one, taken)
}
