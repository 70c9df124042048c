package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// littered is a trio with a keyspace of two partitions, and clocks that move an hour in a minute.
type littered struct {
	*trio
	core  int
	space kv.KeyspaceID
	parts []kv.PartitionID
}

func newLittered(t *testing.T, retention time.Duration) *littered {
	w := &littered{trio: newTrioWith(t, func(c *Config) { c.Core.ClockJumpMax, c.RetainInterval = 24*time.Hour, time.Second })}
	w.run(4 * time.Second)
	w.core, _ = w.leads(kv.SystemPartition)
	if r := w.tell(w.core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: 2, Retention: retention}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	for _, p := range w.tell(w.core, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k"}}).Response.Topology.Partitions {
		w.parts, w.space = append(w.parts, p.Descriptor.Partition), p.Descriptor.Keyspace
	}
	return w
}

// pass lets an amount of the oracle's time pass, a minute a second.
func (w *littered) pass(d time.Duration) {
	for range int(d / time.Minute) {
		w.ahead += 59_000
		w.run(time.Second)
	}
}

func (w *littered) gc(p kv.PartitionID) (kv.Timestamp, kv.LogIndex) {
	i, _ := w.leads(p)
	r := w.nodes[i].replicas[p]
	return r.applied.gc, r.group.Applied()
}

// TestNothingIsReadForNothing: a partition in which nothing was overwritten is neither given a G nor looked at;
// one that has old versions is, once, until there are new ones.
func TestNothingIsReadForNothing(t *testing.T) {
	w := newLittered(t, 0)
	p := w.parts[0]
	w.commit(p, w.space, 500, kv.WritePut)
	w.pass(100 * time.Minute)
	if g, _ := w.gc(p); g != 0 || len(w.passes) != 0 {
		t.Fatalf("without garbage G is %v, and there are passes: %v", g, w.passes)
	}
	w.commit(p, w.space, 100, kv.WritePut)
	w.commit(p, w.space, 50, kv.WriteDelete)
	w.pass(50 * time.Minute)
	if len(w.passes) != 0 {
		t.Fatalf("before the retention is over there are passes: %v", w.passes)
	}
	w.pass(30 * time.Minute)
	for i, e := range w.engines {
		m, err := e.Measure(kv.Keyspace{ID: w.space}.Span(), 0)
		if err != nil || m.Keys != 450 || m.Garbage != 0 {
			t.Errorf("on node %d there are %+v, %v", i+1, m, err)
		}
	}
	if n := len(w.passes); n < 3 || n > 9 { // each replica one over blocks, and one over everything if that has left something
		t.Errorf("%d passes for 200 versions on three replicas: %v", n, w.passes)
	}
	w.passes = nil
	g, index := w.gc(p)
	w.pass(5 * time.Hour)
	if now, at := w.gc(p); now != g || len(w.passes) != 0 || at > index+6 { // H may move
		t.Errorf("G moves from %v to %v, the log from %d to %d, passes: %v", g, now, index, at, w.passes)
	}
	if _, ok, err := w.engines[0].ReplicaState(w.parts[1]); !ok || err != nil {
		t.Error(err)
	}
	if g, _ := w.gc(w.parts[1]); g != 0 {
		t.Errorf("a partition that nobody has used has the G %v", g)
	}
}

// TestPassesFollowWhatIsMeasured: what a pass over blocks with garbage has left takes one over everything, if it is enough. A
// leader that has not seen a write raises G all the same.
func TestPassesFollowWhatIsMeasured(t *testing.T) {
	for left, full := range map[int64]int{300: 3, 100: 0} {
		w := newLittered(t, kv.RetentionMin)
		p := w.parts[0]
		w.sized = func(c *CollectTask) {
			if c.partition == p && c.review {
				c.size.Keys, c.size.Garbage, c.size.Due = 25_000, left, left // as tables had it that do not know of each other
			}
		}
		w.commit(p, w.space, 100, kv.WritePut)
		w.commit(p, w.space, 50, kv.WriteDelete)
		w.run(2 * time.Second) // it is measured
		leader, _ := w.leads(p)
		if r := w.tell(leader, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: p, To: kv.NodeID((leader+1)%3 + 1)}}); r.Err != nil {
			t.Fatal(r.Err)
		}
		w.run(2 * time.Second)
		w.pass(60 * time.Minute)
		over := map[bool]int{}
		for _, a := range w.passes {
			over[a.Full]++
		}
		if over[true] != full || over[false] != 3 {
			t.Errorf("with %d left of 25,000: on three replicas %d passes over blocks, %d over everything, not 3 and %d", left, over[false], over[true], full)
		}
		if m, err := w.engines[leader].Measure(kv.Keyspace{ID: w.space}.Span(), 0); err != nil || m.Keys != 50 || m.Garbage != 0 {
			t.Errorf("there are %+v, %v", m, err)
		}
	}
}

// TestRetentionIsThatOfTheKeyspace, and a hold keeps it from being all that counts.
func TestRetentionIsThatOfTheKeyspace(t *testing.T) {
	w := newLittered(t, kv.RetentionMin)
	p := w.parts[0]
	age := func() time.Duration {
		w.commit(p, w.space, 20, kv.WritePut)
		i, _ := w.leads(p)
		g, _ := w.gc(p)
		return time.Duration(w.nodes[i].Heard().UnixMillis()-g.UnixMillis()) * time.Millisecond
	}
	for range 10 {
		w.commit(p, w.space, 20, kv.WritePut)
		w.pass(5 * time.Minute)
	}
	if d := age(); d < kv.RetentionMin || d > kv.RetentionMin+10*time.Minute {
		t.Errorf("G is %v behind", d)
	}
	if r := w.tell(w.core, &kv.AdminRequest{SetKeyspace: &kv.SetKeyspace{Name: "k", Retention: 2 * time.Hour}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	w.run(6 * time.Second) // until the nodes hear of it
	before, _ := w.gc(p)
	for range 10 {
		w.commit(p, w.space, 20, kv.WritePut)
		w.pass(5 * time.Minute)
	}
	if g, _ := w.gc(p); g != before {
		t.Errorf("G has gone on from %v to %v, and two hours are to be kept", before, g)
	}
	held := w.nodes[w.core].Heard()
	for range 50 {
		w.commit(p, w.space, 20, kv.WritePut)
		if r := w.tell(w.core, &kv.AdminRequest{Hold: &kv.Hold{Timestamp: held}}); r.Err != nil {
			t.Fatal(r.Err)
		}
		w.pass(4 * time.Minute)
	}
	if g, _ := w.gc(p); g <= before || g > held {
		t.Errorf("while %v is held, G is %v", held, g)
	}
	if d := age(); d < 3*time.Hour {
		t.Errorf("G is %v behind, and something of more than three hours ago is held", d)
	}
}

// TestCeilingsOnlyRise: a word that is late, or of a leader that was replaced, takes nothing back.
func TestCeilingsOnlyRise(t *testing.T) {
	var x retention
	own := func(d time.Duration) []core.KeyspaceRetention {
		return []core.KeyspaceRetention{{Keyspace: 1, Retention: d}}
	}
	for _, r := range []core.Retain{
		{Ceiling: 10, Revision: 5, Retentions: own(time.Hour)},
		{Ceiling: 30, Revision: 7, Retentions: own(2 * time.Hour)},
		{Ceiling: 20, Revision: 6, Retentions: own(3 * time.Hour)},
		{Ceiling: 0, Revision: 7, Retentions: own(4 * time.Hour)},
	} {
		x.hear(&r)
	}
	if x.ceiling != 30 || x.own[1] != 4*time.Hour {
		t.Errorf("%+v", x)
	}
}
