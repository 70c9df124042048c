package replication

import (
	"math"
	"slices"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// mark says that a replica acknowledged this leader in a term under an epoch (L14).
type mark struct {
	replica kv.ReplicaID
	term    kv.Term
	epoch   uint64
	commit  kv.LogIndex // what it last said it knows to be committed
}

// leading is what only a leader has; it is empty on followers.
type leading struct {
	marks   []mark  // by replica id; cleared when the replica becomes leader
	noLease kv.Term // the term whose lease was given up (L37)
	awake   bool
	cell    *atomic.Uint64    // the term whose lease may serve reads off the loop; 0 = none (L18)
	reads   []uint64          // ReadIndex questions not yet handed to raft
	asked   [][]uint64        // those handed to raft, one batch for each question raft was asked
	oldest  kv.Instant        // since when something proposed has not been committed; 0 = nothing (L68)
	seq     uint64            // of ReadIndex batches
	held    []*raftpb.Message // appends without entries, one a follower; see hold.go

	uncommitted uncommitted
}

func (l *leading) begin(t kv.Term) {
	l.end()
	l.awake = true
	if l.cell == nil {
		l.cell = new(atomic.Uint64)
	}
	l.cell.Store(uint64(t))
}

func (l *leading) end() {
	l.revoke()
	l.marks, l.reads, l.asked, l.oldest, l.awake, l.held, l.uncommitted = nil, nil, nil, 0, false, nil, uncommitted{}
}

// revoke makes every read under way outside the loop fail its check.
func (l *leading) revoke() {
	if l.cell != nil {
		l.cell.Store(0)
	}
}

// mark notes the answer of a follower that is bound to this leader in this term.
func (g *Group) mark(f Frame) {
	if g.last.role != Leader || f.Message.GetTerm() != uint64(g.last.term) || f.Tag == 0 {
		return
	}
	id := kv.ReplicaID(f.Message.GetFrom())
	m := g.lead.markOf(id)
	if m == nil {
		g.lead.marks = append(g.lead.marks, mark{replica: id})
		m = &g.lead.marks[len(g.lead.marks)-1]
	}
	if m.term != g.last.term || f.Tag > m.epoch {
		*m = mark{replica: id, term: g.last.term, epoch: f.Tag}
	}
	if f.Tag == m.epoch {
		m.commit = max(m.commit, f.Commit)
	}
}

func (l *leading) markOf(id kv.ReplicaID) *mark {
	for i := range l.marks {
		if l.marks[i].replica == id {
			return &l.marks[i]
		}
	}
	return nil
}

const forever = kv.Instant(math.MaxInt64)

// LeaseUntil is the end of the lease on this node's clock, 0 if there is none: the promises
// of a quorum of both halves of the configuration in force (L15), in a term whose own entry
// is applied and in which no transfer was attempted (L16).
func (g *Group) LeaseUntil() kv.Instant {
	if !g.Serves() || g.lead.noLease == g.last.term && !invariant.Mutated(invariant.LeaseAfterTransfer) {
		return 0
	}
	if invariant.Mutated(invariant.JointUnion) {
		ids := append(slices.Clone(g.conf.Voters), g.conf.VotersOutgoing...)
		slices.Sort(ids)
		return g.quorumUntil(slices.Compact(ids))
	}
	return min(g.quorumUntil(g.conf.Voters), g.quorumUntil(g.conf.VotersOutgoing))
}

// quorumUntil is until when a majority of the voters promised, forever for no voters.
func (g *Group) quorumUntil(voters []uint64) kv.Instant {
	if len(voters) == 0 {
		return forever
	}
	var buf [8]kv.Instant
	until := buf[:0]
	for _, id := range voters {
		until = append(until, g.promised(kv.ReplicaID(id)))
	}
	slices.Sort(until)
	return until[len(until)-(len(until)/2+1)]
}

// promised is until when the node of a voter promised that the voter stays bound.
func (g *Group) promised(id kv.ReplicaID) kv.Instant {
	if id == g.replica {
		return forever
	}
	epoch, until, _ := g.set.support.supported(g.set.env.Now(), g.nodeOf(id), g.id)
	if invariant.Mutated(invariant.NoMark) {
		return until
	}
	m := g.lead.markOf(id)
	if m == nil || m.term != g.last.term || m.epoch == 0 || m.epoch != epoch && !invariant.Mutated(invariant.MarkNoEpoch) {
		return 0
	}
	return until
}

// Guard is a lease as it was when a read (or an oracle's grant) was decided: what was read
// may be answered if it still Holds by a clock that is read afterwards (L17, L18).
type Guard struct {
	Term  kv.Term
	Until kv.Instant
	cell  *atomic.Uint64
	group *Group // for a planted bug
}

// Guard is the group's lease now; ok is false if there is none.
func (g *Group) Guard() (Guard, bool) {
	until, now := g.LeaseUntil(), g.set.env.Now()
	if invariant.Mutated(invariant.CachedClock) {
		now = g.set.clock.loopAt
	}
	if until <= now && !invariant.Mutated(invariant.TermNotCompared) || !g.Serves() {
		return Guard{}, false
	}
	return Guard{Term: g.last.term, Until: until, cell: g.lead.cell, group: g}, true
}

// Holds reports whether the lease still stands; fresh must be read after what it guards was read.
func (d Guard) Holds(fresh kv.Instant) bool {
	switch {
	case d.cell == nil:
		return false
	case invariant.Mutated(invariant.CheckBefore), invariant.Mutated(invariant.CachedClock):
		return true
	case invariant.Mutated(invariant.TermNotCompared):
		return fresh < d.group.LeaseUntil() // of whatever term
	}
	return fresh < d.Until && d.cell.Load() == uint64(d.Term)
}

// askReads hands the collected ReadIndex questions to raft as one (L19).
func (g *Group) askReads() {
	if len(g.lead.reads) == 0 || !g.Serves() {
		return
	}
	g.lead.seq++
	g.lead.asked = append(g.lead.asked, g.lead.reads)
	g.lead.reads = nil
	g.rn.ReadIndex(readContext(g.last.term, g.lead.seq))
}

func (g *Group) readReady(rs raft.ReadState) {
	term, seq, ok := parseReadContext(rs.RequestCtx)
	if !ok || term != g.last.term || g.last.role != Leader {
		return
	}
	// raft answers a question and with it all earlier ones, in order
	first := g.lead.seq - uint64(len(g.lead.asked)) + 1
	for ; first <= seq && len(g.lead.asked) > 0; first++ {
		for _, ctx := range g.lead.asked[0] {
			g.set.env.ReadReady(g, ctx, kv.LogIndex(rs.Index))
		}
		g.lead.asked = g.lead.asked[1:]
	}
}
