package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// Trap is a sequence of faults that is aimed at one rule. It is sprung every so often, or, with no
// interval, by what happens in the cluster.
type Trap struct {
	Name  string
	Every time.Duration
}

// traps is what the traps of a run know and share with the workloads.
type traps struct {
	hold       ns        // no new writes until then
	carrying   ns        // trapCarry cuts links until then
	avoid      kv.NodeID // writers do not ask this node
	avoidUntil ns
	partitions []kv.PartitionID // of data
	replicas   map[member]kv.ReplicaID
	victim     kv.NodeID          // the machine whose disk may be damaged, 0 = not chosen yet
	flipped    map[kv.NodeID]bool // machines whose disk was damaged
	byEvent    map[string]bool    // traps that are sprung by what happens
	refusals   map[refusal][]ns   // of snapshots, since the last one that was taken
	calls      callTraps
}

// member is a replica by its place.
type member struct {
	partition kv.PartitionID
	node      kv.NodeID
}

// aimed springs one trap at the leader x of a partition with two followers: y, which its lease will rest
// on, and z.
type aimed func(w *World, id kv.PartitionID, x, y, z kv.NodeID)

var aimedTraps = map[string]aimed{
	"iso": trapIso, "mark": trapMark, "slowacks": trapSlowAcks, "drift": trapDrift, "epoch": trapEpoch, "sticky": trapSticky, "regain": trapRegain, "pause": trapPause,
	"loop": trapLoop, "grants": trapGrants, "oracle": trapOracle, "carry": trapCarry, "rejoin": trapRejoin, "goesback": trapGoesBack,
	"ghost": trapGhost, "stale": trapStale, "deaf": trapDeaf, "lastwords": trapLastWords,
}

// setTraps lays the scenario's traps.
func (w *World) setTraps(end ns) {
	for _, t := range w.cfg.Traps {
		if strike := diskTraps[t.Name]; strike != nil {
			w.regularly(t.Every, end, func() { strike(w) })
			continue
		}
		spring := aimedTraps[t.Name]
		if spring == nil {
			w.traps.byEvent[t.Name] = true
			continue
		}
		w.regularly(t.Every, end, func() { w.aim(spring) })
	}
}

// aim finds a leader with two followers.
func (w *World) aim(spring aimed) {
	id := w.traps.partitions[w.rng.IntN(len(w.traps.partitions))]
	p, _ := w.leader(id)
	if p == nil {
		return
	}
	var others []kv.NodeID
	for _, m := range w.machines {
		if m.id != p.m.id && w.traps.replicas[member{id, m.id}] != 0 {
			others = append(others, m.id)
		}
	}
	if len(others) != 2 {
		return
	}
	k := w.rng.IntN(2)
	spring(w, id, p.m.id, others[k], others[1-k])
}

// trapIso: the lease rests on y alone, y crashes and is back at once, and z can reach y.
func trapIso(w *World, _ kv.PartitionID, x, y, z kv.NodeID) {
	d := 700*ms + w.upTo(s)
	w.traps.hold = w.now + d + 20*ms // z's log must not be too old to win
	w.net.cutBoth(x, z, d, false)
	w.after(620*ms+w.upTo(d-620*ms), func() {
		w.machine(y).crash(w.upTo(5 * ms))
		w.traps.hold = 0
	})
}

// trapMark: y becomes leader, and its messages never reach z, whose node supports it all the
// same; then y loses x.
func trapMark(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	w.net.cut(y, z, 2500*ms, true)
	w.transfer(id, y)
	w.after(w.upTo(100*ms), func() { w.net.cutBoth(x, y, 2*s, false) })
}

// trapSlowAcks: answers to x take 450 ms; then x is heard no more, while the last answers are under way.
func trapSlowAcks(w *World, _ kv.PartitionID, x, y, z kv.NodeID) {
	w.net.slow(y, x, 2500*ms, 450*ms)
	w.net.slow(z, x, 2500*ms, 450*ms)
	w.after(600*ms+w.upTo(300*ms), func() {
		w.net.cut(x, y, 1800*ms, false)
		w.net.cut(x, z, 1800*ms, false)
	})
}

// trapDrift: node 1, whose clock is the slowest, leads and is cut off.
func trapDrift(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	if x != 1 {
		w.transfer(id, 1)
		return
	}
	d := 4 * s
	w.net.cutBoth(x, y, d, false)
	w.net.cutBoth(x, z, d, false)
}

// trapEpoch: y's support lapses and comes back while its replica hears nothing; then x loses z.
func trapEpoch(w *World, _ kv.PartitionID, x, y, z kv.NodeID) {
	d := 620*ms + w.upTo(300*ms)
	w.net.cutBoth(x, y, d, false)
	w.net.cut(x, y, 3*s, true)
	w.after(d+w.upTo(150*ms), func() { w.net.cutBoth(x, z, 1500*ms, false) })
}

// trapSticky: x's lease rests on y, and y gets a late rejection of a pre-vote, of a higher term.
func trapSticky(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	w.net.cutBoth(x, z, 4*s, false)
	w.traps.hold, w.traps.avoid, w.traps.avoidUntil = w.now+2800*ms, x, w.now+3100*ms
	w.after(700*ms+w.upTo(300*ms), func() {
		w.net.cut(y, x, 3*s, true)
		p := w.machine(y).alive()
		if p == nil {
			return
		}
		term, _, _ := p.lease(id)
		from, to := w.traps.replicas[member{id, z}], w.traps.replicas[member{id, y}]
		p.receive(z, node.AppendMessage(nil, &node.Message{Raft: &replication.Frame{Partition: id, Message: &raftpb.Message{
			Type: raftpb.MsgPreVoteResp.Enum(), From: new(uint64(from)), To: new(uint64(to)), Term: new(uint64(term + 1)), Reject: new(true),
		}}}))
	})
}

// trapPause: x stands still until others have led for a while.
func trapPause(w *World, _ kv.PartitionID, x, _, _ kv.NodeID) {
	if p := w.machine(x).alive(); p != nil {
		p.pause(900*ms + w.upTo(900*ms))
	}
}

// trapLoop: x's lease rests on y, of which the loop with the replica stands still, alone, until its promise is
// over; z, whose log is as new, asks it for its vote before x hears of that, since y's answers are late. The group sleeps
// meanwhile, so that x does not miss y's raft messages, and nothing of x binds y again.
func trapLoop(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	const asleep = 250 * ms // without writes
	d := 900*ms + w.upTo(300*ms)
	w.traps.hold = w.now + asleep + d + 20*ms
	w.after(asleep, func() {
		p := w.machine(y).alive()
		if p == nil || p.at(id).index == 0 { // when loop 0 stands still, nothing can be confused
			return
		}
		w.net.cutBoth(x, z, d+s, false)
		w.net.cut(x, y, d+100*ms, true)
		w.net.slow(y, x, d+s, 300*ms)
		p.at(id).stall(d)
	})
}

// trapRegain: x is cut off until another one leads, and then leads again, while it has reads under
// way that came when it had no lease.
func trapRegain(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	d := 1500*ms + w.upTo(500*ms)
	w.net.cutBoth(x, y, d, false)
	w.net.cutBoth(x, z, d, false)
	w.traps.avoid, w.traps.avoidUntil = x, w.now+d // a write under way would hold all reads of its key
	for _, late := range []ns{5 * ms, 30 * ms, 100 * ms} {
		w.after(d+late, func() { w.transfer(id, x) })
	}
}

// sent looks at each raft message that leaves a node: it learns who is who, and springs the
// traps that wait for one.
func (t *traps) sent(w *World, from, to kv.NodeID, f *replication.Frame) {
	t.replicas[member{f.Partition, from}] = kv.ReplicaID(f.Message.GetFrom())
	if w.phase.calm {
		return
	}
	if f.Message.GetType() == raftpb.MsgTimeoutNow && t.byEvent["xfer"] {
		// The old leader hears nothing more; clients still reach it.
		d := w.upTo(1500 * ms)
		for _, m := range w.machines {
			w.net.cut(m.id, from, d, w.rng.IntN(2) == 0)
		}
	}
}

// appended looks at each log write: a leader that has just appended a change of the
// configuration is cut off about when it commits it.
func (t *traps) appended(w *World, p *process, a *replication.Append) {
	t.raised(w, p, a)
	if !t.byEvent["joint"] || w.phase.calm {
		return
	}
	for _, e := range a.Log.Entries {
		if e.Type != uint8(raftpb.EntryConfChangeV2) || w.rng.IntN(2) == 0 {
			continue
		}
		if _, _, leads := p.lease(a.Partition()); leads {
			d := w.upTo(3 * s)
			w.after(w.upTo(3*ms), func() {
				for _, m := range w.machines {
					w.net.cutBoth(p.m.id, m.id, d, false)
				}
			})
		}
	}
}
