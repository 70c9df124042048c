package host

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// TestLoopsMayDiffer has nodes with different numbers of loops, each of which comes back with another number: the
// partitions of a hash keyspace fall to all of them.
func TestLoopsMayDiffer(t *testing.T) {
	c := newClusterOf(t, 1, 3, 2)
	const partitions = 5
	c.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "h", Scheme: kv.SchemeHash, Partitions: partitions}})
	top := c.admin(&kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "h"}}).Topology
	if len(top.Partitions) != partitions {
		t.Fatalf("%d partitions", len(top.Partitions))
	}
	key := func(b, i int) kv.Key {
		return kv.MakeHashKey(top.Keyspaces[0].ID, uint16(b), fmt.Appendf(nil, "key%d", i))
	}
	write := func(i int) {
		for b, p := range top.Partitions {
			c.put(p.Descriptor.Partition, key(b, i), fmt.Sprint("value", i))
		}
	}
	write(0)
	for round, loops := range [][]int{{2, 1, 3}, {3, 3, 1}} {
		for i := range c.hosts {
			c.stop(i)
			c.loops[i] = loops[i]
			c.open(i, c.list[i])
			c.start(i)
			write(1 + 3*round + i)
		}
	}
	for b, p := range top.Partitions {
		id := p.Descriptor.Partition
		for i := range 7 {
			if r := c.do(get(id, key(b, i))); len(r.Rows) != 1 || string(r.Rows[0].Value) != fmt.Sprint("value", i) {
				t.Errorf("partition %d, key %d is %+v", id, i, r)
			}
		}
		eventually(t, "check", func() (int, error) {
			a := c.admin(&kv.AdminRequest{Check: &kv.CheckQuery{Partition: id}}).Check
			if !a.Equal || len(a.Digests) != 3 || a.Digests[0].Keys != 7 || slices.ContainsFunc(a.Digests, func(d kv.ReplicaDigest) bool { return d.Missing }) {
				return 0, kv.Errorf(kv.Unavailable, "the replicas of partition %d differ: %+v", id, a)
			}
			return 0, nil
		})
	}
	s, err := c.hosts[0].running.Load().nodeStatus()
	if err != nil || len(s.Replicas) != partitions+2 || !slices.IsSortedFunc(s.Replicas, func(a, b kv.ReplicaStatus) int { return int(a.Partition) - int(b.Partition) }) {
		t.Errorf("the status of all loops together: %+v, %v", s, err)
	}
	c.leadersLeave(0)
}

// leadersLeave drains a node: all of its loops give away what they lead.
func (c *cluster) leadersLeave(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	c.hosts[i].Drain(ctx)
	s, err := c.hosts[i].running.Load().nodeStatus()
	if err != nil || !s.Draining || slices.ContainsFunc(s.Replicas, func(r kv.ReplicaStatus) bool { return r.Role == "leader" }) {
		c.t.Errorf("after a drain: %+v, %v", s, err)
	}
}

// loopsOf are loops without anything around them.
func loopsOf(n int, shared *budget) loops {
	var ls loops
	for i := range n {
		ls = append(ls, &loop{index: i, self: 7, inbox: newInbox(i, shared)})
	}
	for _, l := range ls {
		l.all = ls
	}
	return ls
}

func (l *loop) taken() (in inputs) {
	l.inbox.take(&in, nil)
	return in
}

// TestEverythingComesToItsLoop: by partition, by the loop that is named, or to all.
func TestEverythingComesToItsLoop(t *testing.T) {
	ls := loopsOf(3, &budget{max: 100, bytesMax: 100})
	frame := func(p kv.PartitionID) node.Message { return node.Message{Raft: &replication.Frame{Partition: p}} }
	ls.receive(9, []node.Message{frame(1), frame(2), frame(3), frame(5), {Heartbeat: &replication.Heartbeat{}}}, 50)
	for i, want := range [][]kv.PartitionID{{1}, {2, 5}, {3}} {
		in := ls[i].taken()
		if len(in.received) != 1 || len(in.received[0].messages) != len(want)+1 || in.received[0].messages[len(want)].Heartbeat == nil {
			t.Fatalf("loop %d has %+v", i, in.received)
		}
		for j, p := range want {
			if got := in.received[0].messages[j].Raft.Partition; got != p {
				t.Errorf("loop %d has a message of partition %d, want %d", i, got, p)
			}
		}
	}
	var a countingAsker
	batch := asks(4, &a, nil)
	for i := range batch {
		batch[i].Request = get(kv.PartitionID(i+1), nil)
	}
	ls.submit(batch)
	ls.cancel(*batch[1].Handle)
	for i, want := range []int{2, 1, 1} {
		in := ls[i].taken()
		if len(in.requests) != want || len(in.cancels) != map[int]int{1: 1}[i] {
			t.Errorf("loop %d has %d requests and %d cancels", i, len(in.requests), len(in.cancels))
		}
	}
	marks := []*replication.Append{replication.MarkAppend(2, wMark, nil), replication.MarkAppend(1, wMark, nil), replication.MarkAppend(5, wMark, nil)}
	ls.stored(stored{appends: marks, positions: positionsOf(10, 11, 12)})
	if in := ls[1].taken(); len(in.stored) != 1 || len(in.stored[0].appends) != 2 || in.stored[0].positions[1][0].Segment != 12 {
		t.Errorf("loop 1 has %+v", in.stored)
	}
}

// TestLoopsShareTheirLimits: what a node takes on is bounded for all its loops together.
func TestLoopsShareTheirLimits(t *testing.T) {
	ls := loopsOf(2, &budget{max: 3, bytesMax: 1000})
	var a countingAsker
	for p := range kv.PartitionID(4) {
		ls.submit(asks(1, &a, get(p+1, kv.Key("k"))))
	}
	if a.answers.Load() != 1 || a.err.Load().Kind != kv.Unavailable {
		t.Errorf("%d of 4 were refused with %v, the limit is 3", a.answers.Load(), a.err.Load())
	}
	in := ls[0].taken()
	ls[0].inbox.take(&inputs{}, []freed{{in.requests[0].id, 0}})
	ls.submit(asks(2, &a, get(2, kv.Key("k"))))
	if a.answers.Load() != 2 {
		t.Errorf("one ended in loop 0, two came to loop 1: %d refused", a.answers.Load()-1)
	}
}

// TestLoopsSpeakByTheirInboxes: a message to the own node comes to the loop that it is for.
func TestLoopsSpeakByTheirInboxes(t *testing.T) {
	ls := loopsOf(2, &budget{})
	ls[0].tellLoop(&node.Message{Raft: &replication.Frame{Partition: 2}})
	ls[0].tellLoop(&node.Message{Raft: &replication.Frame{Partition: 1}})
	if in := ls[1].taken(); len(in.received) != 1 || in.received[0].from != 7 || len(ls[0].own.messages) != 1 {
		t.Errorf("loop 1 has %+v, loop 0 keeps %+v", in.received, ls[0].own.messages)
	}
}

// TestStandingLoopIsSeen: by loop 0, after half of what nodes promise (L9).
func TestStandingLoopIsSeen(t *testing.T) {
	ls := loopsOf(3, &budget{})
	ls[1].shared.turned.Store(1000)
	ls[2].shared.turned.Store(900)
	for last, want := range map[int64]bool{1000: false, 1200: false, 1201: true} {
		if ls[0].shared.turned.Store(last); ls.stalled(600) != want {
			t.Errorf("loop 0 turned at %d, loop 2 not since 900: %t", last, !want)
		}
	}
}

var wMark = wal.Mark{Kind: wal.MarkForget}

func positionsOf(segments ...uint64) (all [][]wal.Position) {
	for _, s := range segments {
		all = append(all, []wal.Position{{Segment: s}})
	}
	return all
}

// TestStandingLoopLosesItsLeaderships: the other loops of its node go on, and still its partitions find new leaders,
// since the node does not renew (L9).
func TestStandingLoopLosesItsLeaderships(t *testing.T) {
	c := newClusterOf(t, 2, 2, 2)
	ks, p := c.firstPartition()
	c.put(p, ks.FullKey([]byte("k")), "before")
	x := eventually(t, "leader", func() (int, error) {
		for i, h := range c.hosts {
			if _, err := submit(h, get(p, ks.FullKey([]byte("k")))); err == nil {
				return i, nil
			}
		}
		return 0, kv.Errorf(kv.Unavailable, "nobody leads")
	})
	h := c.hosts[x]
	l := h.running.Load().loops.of(p)
	if l.index == 0 {
		t.Fatal("the partition falls to loop 0: the test tests nothing")
	}
	release := make(chan struct{})
	l.inbox.do(func(kv.Instant) { <-release })
	c.hosts[x] = nil // it is not asked
	c.put(p, ks.FullKey([]byte("k")), "after")
	close(release)
	c.hosts[x] = h
	if r := c.do(get(p, ks.FullKey([]byte("k")))); len(r.Rows) != 1 || string(r.Rows[0].Value) != "after" {
		t.Errorf("got %+v", r)
	}
}
