package core

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// mayhem does random things to a cluster: kills, wipes, joins, damage, drains, keyspaces,
// elections of the core, lost orders.
type mayhem struct {
	*fakeCluster
	rng      *rand.Rand
	down     []kv.NodeID // killed, will return
	created  int
	joined   map[RequestID]bool
	maxNodes int
}

func (c *mayhem) alive() []kv.NodeID {
	var all []kv.NodeID
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		if c.nodes[id].alive {
			all = append(all, id)
		}
	}
	return all
}

func (c *mayhem) event() {
	alive := c.alive()
	victim := alive[c.rng.IntN(len(alive))]
	switch c.rng.IntN(11) {
	case 0: // one node at a time is down, so that every partition keeps its quorum
		if len(c.down) == 0 && len(alive) > 3 {
			c.nodes[victim].alive = false
			c.down = append(c.down, victim)
		}
	case 1, 2:
		if len(c.down) > 0 {
			c.nodes[c.down[0]].alive = true
			c.down = c.down[1:]
		}
	case 3:
		c.wipe(victim, len(alive))
	case 4:
		c.damage(victim)
	case 5:
		c.nodes[victim].draining = !c.nodes[victim].draining
	case 6:
		c.created++
		c.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: fmt.Sprintf("k%d", c.created), Scheme: kv.SchemeHash, Partitions: 1 + c.rng.IntN(8)}})
	case 7:
		if c.created > 0 {
			c.admin(&kv.AdminRequest{DropKeyspace: &kv.DropKeyspace{Name: fmt.Sprintf("k%d", 1+c.rng.IntN(c.created))}})
		}
	case 8:
		c.elect()
	case 9:
		c.lossy = []int{0, 3, 5}[c.rng.IntN(3)]
	case 10:
		c.join(fmt.Sprintf("new%d:1", c.rng.IntN(3)), c.rng.Uint64()|1)
	}
	c.run(time.Duration(c.rng.IntN(4000)) * time.Millisecond)
	c.collectJoins()
}

func (c *mayhem) join(address string, nonce uint64) {
	if c.m.state.nodes.Len() >= c.maxNodes {
		return
	}
	id := c.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: address, Locality: fmt.Sprintf("zone=%d", nonce%4), Nonce: nonce}})
	c.joined[id] = true
}

// collectJoins brings nodes to life that were answered.
func (c *mayhem) collectJoins() {
	for _, id := range sortedKeys(c.joined) {
		r, answered := c.replies[id]
		if !answered {
			continue
		}
		delete(c.joined, id)
		if r.err == nil && c.nodes[r.resp.Join.Node] == nil {
			c.addNode(r.resp.Join.Node)
			c.retire()
		}
	}
}

// retire silences nodes that were replaced.
func (c *mayhem) retire() {
	for _, n := range c.m.Nodes() {
		if n.Replaced && c.nodes[n.ID] != nil {
			delete(c.nodes, n.ID)
			c.down = slices.DeleteFunc(c.down, func(d kv.NodeID) bool { return d == n.ID })
		}
	}
}

// wipe kills a node for ever; it joins again under a new nonce once it is suspected.
func (c *mayhem) wipe(n kv.NodeID, alive int) {
	info, ok := c.m.Node(n)
	if !ok || len(c.down) > 0 || alive <= 4 || !c.redundant() {
		return
	}
	c.nodes[n].alive = false
	c.run(5 * time.Second)
	c.join(info.Address, c.rng.Uint64()|1)
	c.run(time.Second)
	c.collectJoins()
	if c.nodes[n] != nil { // the join was lost with a leader
		c.nodes[n].alive = true
	}
}

// damage ruins one replica, if its partition can bear it.
func (c *mayhem) damage(n kv.NodeID) {
	for _, pid := range slices.Sorted(maps.Keys(c.parts)) {
		r, ok := c.parts[pid].desc.ReplicaOn(n)
		if ok && pid != kv.SystemPartition && len(c.down) == 0 && c.redundant() && c.rng.IntN(3) == 0 {
			c.nodes[n].damaged[ReplicaRef{pid, r.ID}] = true
			return
		}
	}
}

// redundant reports whether every partition has all its voters sound, so that one may be lost.
func (c *mayhem) redundant() bool {
	for _, pid := range slices.Sorted(maps.Keys(c.parts)) {
		d, known := c.m.Descriptor(pid)
		if !known || c.m.state.phase(d) == phaseDropping {
			continue
		}
		sound := 0
		for _, r := range c.parts[pid].desc.Replicas {
			if r.Role == kv.RoleVoter && c.sound(pid, r) {
				sound++
			}
		}
		if sound < 3 || sound < len(c.parts[pid].desc.Replicas) {
			return false
		}
	}
	return true
}

// After any mayhem a cluster that is left alone becomes whole: every partition has the wanted
// number of sound voters in different domains as far as there are any, nothing is left of what was dropped, and
// leaders are spread evenly.
func TestClusterHeals(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			f := newFakeCluster(t, Options{Self: 1, DeadAfter: 20 * time.Second, OperatorMax: 30 * time.Second})
			c := &mayhem{fakeCluster: f, rng: rng, joined: map[RequestID]bool{}, maxNodes: 16}
			f.found(4+rng.IntN(3), 3, func(i int) string { return fmt.Sprintf("zone=%d", i%4) })
			f.run(3 * time.Second)
			for range 40 {
				c.event()
			}
			for _, n := range c.nodes {
				n.alive, n.draining = true, false
			}
			c.lossy = 0
			c.run(4 * time.Minute)
			c.checkWhole(t)
			if t.Failed() {
				n := len(f.trace)
				for _, l := range f.trace[max(0, n-60):] {
					t.Log(l)
				}
			}
		})
	}
}

func (c *mayhem) checkWhole(t *testing.T) {
	m := c.m
	leaders := map[kv.NodeID]int{}
	members := map[kv.NodeID]map[ReplicaRef]bool{}
	m.state.partitions.Ascend(func(d *kv.Descriptor) bool {
		p := c.parts[d.Partition]
		if p == nil {
			t.Errorf("%s exists in the core only", descriptorString(d))
			return true
		}
		if d.Generation != p.desc.Generation {
			t.Errorf("the core knows %s, the partition is %s", descriptorString(d), descriptorString(p.desc))
		}
		sound := 0
		for _, r := range p.desc.Replicas {
			if members[r.Node] == nil {
				members[r.Node] = map[ReplicaRef]bool{}
			}
			members[r.Node][ReplicaRef{d.Partition, r.ID}] = true
			if r.Role == kv.RoleVoter && c.sound(d.Partition, r) {
				sound++
			}
		}
		if sound != m.want(d) || len(p.desc.Replicas) != sound {
			t.Errorf("%s has %d sound voters, %d wanted", descriptorString(p.desc), sound, m.want(d))
		}
		if d.Partition != kv.SystemPartition {
			leaders[p.leader]++
		}
		return true
	})
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		for ref := range c.nodes[id].held {
			if !members[id][ref] {
				t.Errorf("node %d still holds replica %d of partition %d", id, ref.Replica, ref.Partition)
			}
		}
	}
	m.state.keyspaces.Ascend(func(k keyspaceRecord) bool {
		if k.Phase != phaseReady {
			t.Errorf("keyspace %q is in phase %d", k.Name, k.Phase)
		}
		return true
	})
	v := m.view()
	v.LeaderMovesMax = 1
	if ops := placement.Plan(v); len(ops) != 0 {
		t.Errorf("left to do: %v", ops)
	}
	if s := m.status(); len(s.Unhealthy) != 0 || s.Partitions.UnderReplicated+s.Partitions.Unavailable+s.Partitions.Unknown != 0 {
		t.Errorf("status: %s", statusString(s))
	}
	c.checkVolatile(t)
	c.checkReplay(t)
}

// checkVolatile: what the leader remembers is about what exists.
func (c *mayhem) checkVolatile(t *testing.T) {
	d := &c.m.lead.driver
	led := map[kv.NodeID]int{}
	for _, p := range sortedKeys(d.parts) {
		if _, ok := c.m.Descriptor(p); !ok {
			t.Errorf("partition %d is remembered, but has no record", p)
		}
		led[d.parts[p].leader]++
	}
	for _, n := range sortedKeys(d.nodes) {
		if len(d.nodes[n].leads) != led[n] {
			t.Errorf("node %d leads %d partitions, counted as %d", n, led[n], len(d.nodes[n].leads))
		}
	}
	if len(d.operators) != 0 || len(c.m.lead.proposals) != 0 {
		t.Errorf("%d operators and %d proposals are left", len(d.operators), len(c.m.lead.proposals))
	}
}

// checkReplay applies the whole log elsewhere and loads the keys: all the same.
func (c *mayhem) checkReplay(t *testing.T) {
	other := New(c.opts, nil)
	keys := map[string]string{}
	for _, e := range c.entries {
		writes, err := other.Apply(e.index, e.term, e.data)
		if err != nil {
			t.Fatal(err)
		}
		putAll(keys, writes)
	}
	if !maps.Equal(keys, c.keys) {
		t.Error("a second replica of the core has other keys")
	}
}
