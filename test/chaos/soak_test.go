package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/kvd-db/kvd/test/cluster"
)

// soakVariable says for how long TestSoak runs.
const soakVariable = "KVD_SOAK"

// TestSoak makes random faults, one after the other, with some writes in between.
func TestSoak(t *testing.T) {
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skipf("it runs for as long as %s says, such as 10m", soakVariable)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	c, l := start(t, "--dead-after", "3s")
	faults := []struct {
		name string
		make func(*testing.T, *cluster.Cluster, *Load, *cluster.Node)
	}{
		{"kill", soakKill}, {"kill all", soakKillAll}, {"pause", soakPause}, {"stop", soakStop}, {"wipe", soakWipe}, {"move leaders", soakMove},
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		f, n := faults[rand.IntN(len(faults))], c.Nodes[rand.IntN(len(c.Nodes))]
		t.Logf("%s, node %d", f.name, n.ID)
		f.make(t, c, l, n)
		c.WaitHealthy(t)
		l.Await(int64(rand.IntN(2 * some)))
	}
	l.Verify()
}

func soakKill(t *testing.T, _ *cluster.Cluster, l *Load, n *cluster.Node) {
	n.Kill(t)
	l.Await(int64(rand.IntN(2 * some)))
	n.Restart(t)
}

func soakKillAll(t *testing.T, c *cluster.Cluster, _ *Load, _ *cluster.Node) {
	c.KillAll(t)
	c.Restart(t)
}

func soakPause(t *testing.T, _ *cluster.Cluster, l *Load, n *cluster.Node) {
	n.Pause(t)
	l.Await(int64(rand.IntN(2 * some)))
	n.Continue(t)
}

func soakStop(t *testing.T, _ *cluster.Cluster, l *Load, n *cluster.Node) {
	if code := n.Stop(t); code != 0 {
		t.Errorf("node %d ended with exit code %d after SIGTERM:\n%s", n.ID, code, n.LogTail())
	}
	l.Await(int64(rand.IntN(2 * some)))
	n.Restart(t)
}

func soakWipe(t *testing.T, c *cluster.Cluster, _ *Load, n *cluster.Node) {
	was := n.ID
	n.Kill(t)
	n.Wipe(t)
	n.Restart(t)
	c.Eventually(t, "replicas on the new node in place of the old one's", func() error { return replaced(t, c, was) })
}

// soakMove moves leaders about while the load runs.
func soakMove(t *testing.T, c *cluster.Cluster, l *Load, n *cluster.Node) {
	all, err := c.Partitions(t)
	if err != nil {
		t.Logf("partitions: %v", err)
		return
	}
	for _, p := range all {
		_ = c.CLI(t, "move-leader", "--to", fmt.Sprint(n.ID), fmt.Sprint(p.ID)) // it may lead already, or not be able to
		l.Await(10)
	}
}
