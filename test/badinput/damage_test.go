package badinput

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/test/cluster"
)

// needle is a value that is easily found in a file.
const needle = "a-value-that-stands-in-the-middle-of-the-log"

const rows = 200 // written before and after the needle

// fill writes rows around the needle; each is acknowledged.
func fill(t *testing.T, c *cluster.Cluster) *client.Client {
	t.Helper()
	c.WaitHealthy(t)
	c.MustCLI(t, "keyspace", "create", "spread", "--scheme", "hash", "--partitions", "4")
	one := c.Client(t).In("spread")
	put := func(key, value string) {
		if _, err := one.Put(t.Context(), []byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 * rows {
		if i == rows {
			put("needle", needle)
		}
		put(fmt.Sprintf("row-%04d", i), strings.Repeat(fmt.Sprint(i%10), 500))
	}
	return one
}

// TestTornTail: a crash left half a write behind the end of the log. It is cut off, and everything
// that was acknowledged is served.
func TestTornTail(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	fill(t, c)
	n := c.Nodes[0]
	n.Kill(t)
	path := newestSegment(t, n)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const align = 8
	end := (len(bytes.TrimRight(b, "\x00")) + align - 1) / align * align
	torn := bytes.Repeat([]byte("torn"), 1000)
	if end+len(torn) > len(b) {
		t.Fatalf("no room behind the end of %s", path)
	}
	copy(b[end:], torn)
	write(t, path, b)
	n.Restart(t)
	c.WaitHealthy(t)
	readAll(t, c)
	if strings.Contains(n.Log(), "damaged") {
		t.Errorf("a torn tail is no damage:\n%s", n.LogTail())
	}
	n.Kill(t) // what was cut must not come back
	n.Restart(t)
	readAll(t, c)
	c.Check(t)
}

// readAll insists on every row, and the needle.
func readAll(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	one := c.Client(t).In("spread")
	if n, err := one.Count(t.Context(), client.Prefix([]byte("row-"))); err != nil || n != 2*rows {
		t.Errorf("%d rows, %v", n, err)
	}
	for p, err := range one.Scan(t.Context(), client.Prefix([]byte("row-"))) {
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscanf(string(p.Key), "row-%d", &i); err != nil || string(p.Value) != strings.Repeat(fmt.Sprint(i%10), 500) {
			t.Fatalf("%s holds %.40q", p.Key, p.Value)
		}
	}
	if p, err := one.Get(t.Context(), []byte("needle")); err != nil || string(p.Value) != needle {
		t.Errorf("the needle: %q, %v", p.Value, err)
	}
}

// spoil flips the bits of one byte of the needle in a node's log.
func spoil(t *testing.T, n *cluster.Node) {
	t.Helper()
	list, err := filepath.Glob(n.File("log", "0*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte(needle)); at >= 0 {
			b[at+len(needle)/2] ^= 0xff
			write(t, path, b)
			return
		}
	}
	t.Fatalf("the needle is not in %q", list)
}

// TestDamagedLog: a bad byte in the middle of one node's log. That node says what it has lost,
// keeps the rest, and gets a new replica from the others; nobody ever reads the bad byte.
func TestDamagedLog(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 3)
	fill(t, c)
	n := c.Nodes[0]
	n.Kill(t)
	spoil(t, n)
	n.Launch(t)
	readAll(t, c)
	n.WaitReady(t)
	partition := located(t, c)
	c.Eventually(t, "a word about the damage in the log of the node", func() error {
		log := n.Log()
		for _, w := range []string{"the log is damaged", "checksum", "replica is damaged", fmt.Sprintf("partition %d", partition), "replaced"} {
			if !strings.Contains(log, w) {
				return fmt.Errorf("its log does not say %q:\n%s", w, log)
			}
		}
		return nil
	})
	c.WaitHealthy(t)
	readAll(t, c)
	c.Check(t)
}

// located is the number of the needle's partition.
func located(t *testing.T, c *cluster.Cluster) (partition int) {
	t.Helper()
	if _, err := fmt.Sscan(c.MustCLI(t, "--keyspace", "spread", "locate", "needle", "-o", "raw"), &partition); err != nil {
		t.Fatal(err)
	}
	return partition
}

// TestDamagedOnlyLog: the same on a cluster of one, where nobody else has the data. The other
// partitions are served; the damaged one is not, and kvcli status says so.
func TestDamagedOnlyLog(t *testing.T) {
	skipIfShort(t)
	c := cluster.Start(t, 1)
	fill(t, c)
	partition := located(t, c)
	n := c.Nodes[0]
	n.Kill(t)
	spoil(t, n)
	n.Restart(t)
	r := c.CLI(t, "--timeout", "2s", "--keyspace", "spread", "get", "needle", "-o", "raw")
	if err := judge(r, exitUnavailable, "kvcli status"); err != nil {
		t.Error(err)
	}
	c.Eventually(t, "a status that names the damaged partition", func() error {
		s, err := c.Status(t)
		name := fmt.Sprintf("partition %d", partition)
		said := slices.ContainsFunc(s.Unhealthy, func(u string) bool { return strings.Contains(u, name) })
		if err == nil && (s.Healthy || s.Partitions.Unavailable != 1 || !said) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	one, served := c.Client(t).In("spread"), 0
	for i := range 2 * rows {
		key := fmt.Sprintf("row-%04d", i)
		p, err := one.Admin().Locate(t.Context(), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if int(p.Descriptor.Partition) == partition {
			continue
		}
		if _, err := one.Get(t.Context(), []byte(key)); err != nil {
			t.Fatalf("%s of partition %d, which is not damaged: %v", key, p.Descriptor.Partition, err)
		}
		served++
	}
	if served == 0 {
		t.Error("no row lies in another partition")
	}
}
