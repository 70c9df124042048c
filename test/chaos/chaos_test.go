package chaos

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/test/cluster"
)

// some is how many writes make the load felt between two faults.
const some = 500

func start(t *testing.T, flags ...string) (*cluster.Cluster, *Load) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := cluster.Start(t, 3, flags...)
	l := StartLoad(t, c)
	l.Await(some)
	return c, l
}

// TestKillEachInTurn: with one node of three gone, writes go on; the node comes back.
func TestKillEachInTurn(t *testing.T) {
	c, l := start(t)
	for _, n := range c.Nodes {
		n.Kill(t)
		l.Await(some)
		n.Restart(t)
		c.WaitHealthy(t) // or the next one is one too many
		l.Await(some)
	}
	l.Verify()
}

// TestKillAll: all nodes end in the middle of everything, twice.
func TestKillAll(t *testing.T) {
	c, l := start(t)
	for range 2 {
		c.KillAll(t)
		c.Restart(t)
		l.Await(some)
	}
	l.Verify()
}

// TestKillWhileRestarting: nodes that have hardly come up are killed again.
func TestKillWhileRestarting(t *testing.T) {
	c, l := start(t)
	c.KillAll(t)
	for range 3 {
		for _, n := range c.Nodes {
			n.Launch(t)
		}
		c.Nodes[0].WaitReady(t)
		c.KillAll(t)
	}
	c.Restart(t)
	l.Await(some)
	l.Verify()
}

// TestPauseLeader: a leader is stopped for as long as it takes the others to go on without
// it, and continues without an idea that it was away. Readers insist that it serves nothing old.
func TestPauseLeader(t *testing.T) {
	c, l := start(t)
	for range 2 {
		n := c.BusiestLeader(t)
		n.Pause(t)
		c.Eventually(t, "others lead in place of the paused node", func() error { return leadsNothing(t, c, n.ID) })
		l.Await(some)
		n.Continue(t)
		l.Await(some)
		c.WaitHealthy(t)
	}
	l.Verify()
}

// leadsNothing is nil once no partition is led by the node.
func leadsNothing(t *testing.T, c *cluster.Cluster, id kv.NodeID) error {
	all, err := c.Partitions(t)
	for _, p := range all {
		if p.Leader == id || p.Leader == 0 {
			return fmt.Errorf("partition %d is led by node %d", p.ID, p.Leader)
		}
	}
	return err
}

// TestDrain: SIGTERM hands over what the node leads; it ends with 0, one node after the other.
func TestDrain(t *testing.T) {
	c, l := start(t)
	for _, n := range c.Nodes {
		if code := n.Stop(t); code != 0 {
			t.Errorf("node %d ended with exit code %d after SIGTERM:\n%s", n.ID, code, n.LogTail())
		}
		l.Await(some)
		n.Restart(t)
		c.WaitHealthy(t)
	}
	l.Verify()
}

// TestStopAll: all nodes are asked to stop at once, so that none has anybody to hand over to.
func TestStopAll(t *testing.T) {
	c, l := start(t, "--drain-timeout", "2s")
	for _, n := range c.Nodes {
		n.Terminate(t)
	}
	for _, n := range c.Nodes {
		if code := n.Wait(t); code != 0 {
			t.Errorf("node %d ended with exit code %d after SIGTERM:\n%s", n.ID, code, n.LogTail())
		}
	}
	c.Restart(t)
	l.Await(some)
	l.Verify()
}

// TestWipe: a node loses its disk. It comes back as a new node, and the cluster makes new
// replicas of everything there, without being asked.
func TestWipe(t *testing.T) {
	c, l := start(t, "--dead-after", "2s")
	n := c.Nodes[1]
	was := n.ID
	n.Kill(t)
	n.Wipe(t)
	l.Await(some)
	n.Restart(t)
	if n.ID == was {
		t.Errorf("a wiped node came back as node %d, which it was before", n.ID)
	}
	c.Eventually(t, "replicas on the new node in place of the old one's", func() error { return replaced(t, c, was) })
	l.Await(some)
	l.Verify()
}

// replaced is nil once every partition has three voters, none of them on the old node.
func replaced(t *testing.T, c *cluster.Cluster, old kv.NodeID) error {
	s, err := c.Status(t)
	if err != nil {
		return err
	}
	if s.Partitions.UnderReplicated > 0 {
		return fmt.Errorf("%d partitions are under-replicated: %v", s.Partitions.UnderReplicated, s.Unhealthy)
	}
	all, err := c.Partitions(t)
	if err == nil && len(all) == 0 {
		err = errors.New("no partition is known")
	}
	for _, p := range all {
		if len(p.Replicas) != len(c.Nodes) {
			return fmt.Errorf("partition %d has %d replicas", p.ID, len(p.Replicas))
		}
		for _, r := range p.Replicas {
			if r.Node == old || r.Role != "voter" {
				return fmt.Errorf("partition %d has a %s on node %d", p.ID, r.Role, r.Node)
			}
		}
	}
	return err
}
