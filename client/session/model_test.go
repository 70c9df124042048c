package session_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// model is one keyspace of two keys, replicated on three nodes, with the rules C1 and I6 of a leader,
// and a network that loses, delays and reorders copies. A split parts the keys.
type model struct {
	rng      *rand.Rand
	parts    []*group // one, or two after the split
	executed map[kv.TxID]int
	oracle   kv.Timestamp
	wire     []*copyOf // copies of requests that have not arrived
	parted   int       // parts that were sent
}

// group is one partition.
type group struct {
	d      *kv.Descriptor
	leader kv.NodeID
	term   kv.Term
	seen   map[kv.TxID]bool // in this term: true = executed
}

// holds reports whether all that a commit itself writes lies in the partition.
func (g *group) holds(ws []kv.Write) bool {
	for i := range ws {
		if !g.d.Span.Contains(ws[i].Key) {
			return false
		}
	}
	return true
}

// copyOf is one copy of a request on its way to a node.
type copyOf struct {
	to  kv.NodeID
	req *kv.Request
	// answer brings the node's answer to the call; nil once the call has stopped listening.
	answer func(*kv.Response, *kv.Error)
}

var (
	key   = kv.MakeKey(1, []byte("k"))
	below = kv.MakeKey(1, []byte("a")) // stays where it is when key moves
	above = kv.MakeKey(1, []byte("z")) // may move without key
)

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), executed: map[kv.TxID]int{}, oracle: 1 << 20}
	m.parts = []*group{{d: descriptor(2, 1, kv.Key{0, 0, 0, 1}, kv.Key{0, 0, 0, 2}), leader: 1, term: 5, seen: map[kv.TxID]bool{}}}
	return m
}

func descriptor(p kv.PartitionID, g kv.Generation, start, end kv.Key) *kv.Descriptor {
	return &kv.Descriptor{
		Partition: p, Keyspace: 1, Generation: g, Span: kv.Span{Start: start, End: end},
		Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}, {ID: 2, Node: 2, Role: kv.RoleVoter}, {ID: 3, Node: 3, Role: kv.RoleVoter}},
	}
}

func (m *model) topology() *kv.Topology {
	t := &kv.Topology{
		ClusterID: 1, Keyspaces: []kv.Keyspace{{ID: 1, Name: "a", Scheme: kv.SchemeRange}},
		Nodes: []kv.NodeInfo{{ID: 1, Address: "1"}, {ID: 2, Address: "2"}, {ID: 3, Address: "3"}},
	}
	for _, g := range m.parts {
		t.Partitions = append(t.Partitions, kv.PartitionInfo{Descriptor: g.d, Leader: g.leader, Term: g.term})
	}
	return t
}

// elect makes another leader; what the old one had seen is forgotten, outcomes are not.
func (m *model) elect(g *group) {
	g.leader, g.term, g.seen = kv.NodeID(1+m.rng.IntN(3)), g.term+1, map[kv.TxID]bool{}
}

// split moves a key to a partition whose term may equal the old one's.
func (m *model) split() {
	if len(m.parts) > 1 {
		return
	}
	left, at := m.parts[0], key
	if m.rng.IntN(2) == 0 {
		at = above
	}
	left.d = descriptor(2, 2, kv.Key{0, 0, 0, 1}, at)
	m.parts = append(m.parts, &group{
		d: descriptor(3, 1, at, kv.Key{0, 0, 0, 2}), leader: kv.NodeID(1 + m.rng.IntN(3)),
		term: left.term + kv.Term(m.rng.IntN(3)) - 1, seen: map[kv.TxID]bool{},
	})
}

// arrive has one copy reach its node; the answer may be lost.
func (m *model) arrive(c *copyOf) {
	r, err := m.handle(c.to, c.req)
	if c.answer == nil || m.rng.IntN(4) == 0 {
		return
	}
	c.answer(r, err)
}

func (m *model) handle(node kv.NodeID, q *kv.Request) (*kv.Response, *kv.Error) {
	var g *group
	for _, p := range m.parts {
		if p.d.Partition == q.Partition {
			g = p
		}
	}
	switch {
	case m.rng.IntN(12) == 0:
		return nil, kv.Errorf(kv.Unavailable, "overloaded")
	case node != g.leader && m.rng.IntN(6) == 0 && g.term > 1: // deposed, and does not know it yet
		switch {
		case q.Commit.Term == g.term-1:
			return nil, &kv.Error{Kind: kv.Ambiguous}
		case q.Commit.Term < g.term-1 && m.executed[q.Commit.ID] > 0: // it has applied that
			return &kv.Response{Timestamp: m.oracle, Term: g.term - 1}, nil
		}
		return nil, &kv.Error{Kind: kv.StaleTerm, Term: g.term - 1}
	case node != g.leader && m.rng.IntN(2) == 0:
		return nil, &kv.Error{Kind: kv.NotLeader}
	case node != g.leader:
		return nil, &kv.Error{Kind: kv.NotLeader, Leader: g.leader, Term: g.term}
	case !g.holds(q.Commit.Writes):
		return nil, m.wrong()
	}
	return m.commit(g, q.Commit)
}

func (m *model) wrong() *kv.Error {
	e := &kv.Error{Kind: kv.WrongPartition}
	if m.rng.IntN(3) > 0 {
		for _, g := range m.parts {
			e.Descriptors = append(e.Descriptors, g.d)
		}
	}
	return e
}

// refusal is that of another partition, which aborts the commit (rule H4).
func (m *model) refusal(q *kv.Commit) *kv.Error {
	for _, p := range q.Parts {
		for _, g := range m.parts {
			if g.d.Partition == p.Partition && !g.holds(p.Writes) {
				return m.wrong()
			}
		}
		if m.rng.IntN(6) == 0 {
			return &kv.Error{Kind: kv.Conflict}
		}
	}
	return nil
}

// commit is rule C1 at a leader: only within the term does the seen set decide alone (I8).
func (m *model) commit(g *group, q *kv.Commit) (*kv.Response, *kv.Error) {
	done, seen := g.seen[q.ID]
	switch {
	case q.Term == g.term && seen && done, q.Term != g.term && m.executed[q.ID] > 0:
		return &kv.Response{Timestamp: m.oracle, Term: g.term}, nil
	case q.Term != g.term:
		return nil, &kv.Error{Kind: kv.StaleTerm, Term: g.term, Leader: g.leader}
	case seen:
		return nil, &kv.Error{Kind: kv.Aborted}
	case m.rng.IntN(8) == 0:
		g.seen[q.ID] = false
		return nil, &kv.Error{Kind: kv.Aborted}
	}
	if err := m.refusal(q); err != nil {
		g.seen[q.ID] = false
		return nil, err
	}
	g.seen[q.ID] = true
	m.executed[q.ID]++
	m.oracle++
	if m.rng.IntN(6) == 0 { // deposed before it could answer
		m.elect(g)
		return nil, &kv.Error{Kind: kv.Ambiguous}
	}
	return &kv.Response{Timestamp: m.oracle, Term: g.term}, nil
}

// run brings one commit to its end and returns all ids that it was sent under.
func (m *model) run(s *session.Session, steps int) (map[kv.TxID]bool, session.Action, string) {
	ids := map[kv.TxID]bool{}
	story := ""
	var c session.Call
	op := session.Op{Key: key, Request: kv.Request{Commit: &kv.Commit{Writes: []kv.Write{{Kind: kv.WritePut, Key: key}}}}}
	if m.rng.IntN(2) == 0 {
		op.Split = true
		op.Request.Commit.Writes = append(op.Request.Commit.Writes, kv.Write{Kind: kv.WritePut, Key: below}, kv.Write{Kind: kv.WritePut, Key: above})
	}
	a := c.Begin(s, op)
	for range steps {
		story += fmt.Sprintf("%+v\n", a)
		m.disturb()
		switch a.Kind {
		case session.Done:
			return ids, a, story
		case session.Wait:
			a = c.Woke()
		case session.Refresh:
			a = m.refresh(s, &c)
		case session.Send:
			ids[a.Request.Commit.ID] = true
			m.parted += len(a.Request.Commit.Parts)
			a = m.send(&c, a)
		}
	}
	if a.Kind == session.Done {
		return ids, a, story
	}
	return ids, c.Ended(kv.Errorf(kv.Timeout, "deadline")), story
}

func (m *model) disturb() {
	switch m.rng.IntN(20) {
	case 0:
		m.elect(m.parts[m.rng.IntN(len(m.parts))])
	case 1:
		if m.rng.IntN(3) == 0 {
			m.split()
		}
	case 2, 3:
		m.late()
	}
}

// late has an old copy arrive at last.
func (m *model) late() {
	if len(m.wire) > 0 {
		i := m.rng.IntN(len(m.wire))
		c := m.wire[i]
		m.wire = append(m.wire[:i], m.wire[i+1:]...)
		m.arrive(c)
	}
}

func (m *model) refresh(s *session.Session, c *session.Call) session.Action {
	if m.rng.IntN(3) == 0 {
		return c.Refreshed(kv.Errorf(kv.Unavailable, "no node answers"))
	}
	s.Map.Learn("a", m.topology())
	return c.Refreshed(nil)
}

func (m *model) send(c *session.Call, a session.Action) session.Action {
	var next *session.Action
	p := &copyOf{to: a.Node, req: a.Request}
	if m.rng.IntN(5) == 0 { // the copy is delayed past the loss of its connection
		m.wire = append(m.wire, p)
		if m.rng.IntN(6) == 0 {
			return c.Ended(kv.Errorf(kv.Timeout, "deadline"))
		}
		return c.Lost(kv.Errorf(kv.Unavailable, "connection lost"))
	}
	p.answer = func(r *kv.Response, err *kv.Error) {
		if err != nil {
			n := c.Refused(err)
			next = &n
			return
		}
		n := c.Answered(r)
		next = &n
	}
	m.arrive(p)
	if next == nil {
		n := c.Lost(kv.Errorf(kv.Unavailable, "connection lost"))
		next = &n
	}
	return *next
}

// TestExactlyOnce runs commits through losses, elections, delays and a split: none is
// executed twice, and each result is the truth, even after every late copy has arrived.
func TestExactlyOnce(t *testing.T) {
	seeds := uint64(30_000)
	if testing.Short() {
		seeds = 3_000
	}
	kinds, parted := map[string]int{}, 0
	for seed := range seeds {
		m := newModel(seed)
		s := session.New(m.rng)
		s.Hear(1 << 19)
		ids, a, story := m.run(s, 5+m.rng.IntN(60))
		for len(m.wire) > 0 {
			m.late()
		}
		times := 0
		for id := range ids {
			times += m.executed[id]
		}
		kind := "ok"
		if a.Err != nil {
			kind = a.Err.Kind.String()
		}
		kinds[kind]++
		parted += m.parted
		switch {
		case times > 1:
			t.Fatalf("seed %d: executed %d times\n%s", seed, times, story)
		case a.Err == nil && times != 1:
			t.Fatalf("seed %d: acknowledged, executed %d times\n%s", seed, times, story)
		case a.Err != nil && a.Err.Kind != kv.Ambiguous && times != 0:
			t.Fatalf("seed %d: %v, but executed\n%s", seed, a.Err, story)
		}
	}
	t.Log(kinds, parted)
	if kinds["ok"] < int(seeds)/2 || kinds["ambiguous"] == 0 || kinds["unavailable"] == 0 || kinds["conflict"] == 0 || parted < int(seeds)/20 {
		t.Fatalf("the seeds do not reach what they are to test: %v", kinds)
	}
}
