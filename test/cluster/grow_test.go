package cluster

import (
	"fmt"
	"testing"
)

// TestFounderIsNotNeededForEver: one node founds a cluster, two more join. The core and the data grow
// to three voters by themselves, and the death of the founder stops nothing.
func TestFounderIsNotNeededForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := New(t, 3)
	founder := c.Nodes[0]
	founder.Flags = []string{"--join", founder.Address}
	founder.Restart(t)
	c.Eventually(t, "a cluster of one", func() error { return second(c.Status(t)) })
	c.MustCLI(t, "put", "before", "v")
	for _, n := range c.Nodes[1:] {
		n.Flags = []string{"--join", founder.Address + "," + n.Address}
		n.Restart(t)
	}
	c.Eventually(t, "three voters of every partition, the core among them", func() error {
		all, err := c.Partitions(t)
		for _, p := range all {
			voters := 0
			for _, r := range p.Replicas {
				if r.Role == "voter" {
					voters++
				}
			}
			if voters != 3 {
				return fmt.Errorf("partition %d has %d voters", p.ID, voters)
			}
		}
		return err
	})
	c.WaitHealthy(t)
	founder.Kill(t)
	c.Eventually(t, "another leader of the core", func() error {
		s, err := c.Status(t)
		if err == nil && (s.CoreLeader == 0 || s.CoreLeader == founder.ID) {
			err = fmt.Errorf("node %d leads the core", s.CoreLeader)
		}
		return err
	})
	c.MustCLI(t, "put", "after", "v")
	c.MustCLI(t, "keyspace", "create", "later")
	if got := c.MustCLI(t, "scan", "-o", "raw", "--keys-only"); got != "after\nbefore\n" {
		t.Errorf("the keys are %q", got)
	}
	founder.Restart(t)
	c.WaitHealthy(t)
	c.Check(t)
}

func second[T any](_ T, err error) error { return err }
