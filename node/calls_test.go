package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// asker is a node of a trio that leads a partition, from which the test makes calls.
type asker struct {
	*trio
	i    int
	node *Node
	from kv.PartitionID
	told map[uint64][]callAnswer // by token
	last uint64
}

type callAnswer struct {
	resp *kv.Response
	err  *kv.Error
}

func newAsker(t *testing.T, partitions int) (*asker, *kv.Topology) {
	w, top := hashed(t, partitions)
	p := top.Partitions[0].Descriptor.Partition
	i, _ := w.leads(p)
	a := &asker{trio: w, i: i, node: w.nodes[i], from: p, told: map[uint64][]callAnswer{}}
	a.node.calls.answered = func(r *replica, token uint64, resp *kv.Response, err *kv.Error) {
		if r.group.Partition() != a.from || (resp == nil) == (err == nil) {
			t.Errorf("partition %d is told %+v and %v", r.group.Partition(), resp, err)
		}
		a.told[token] = append(a.told[token], callAnswer{resp, err})
	}
	return a, top
}

// call asks for what became of a commit that nobody has made.
func (a *asker) call(to kv.PartitionID) uint64 {
	a.last++
	a.node.call(a.node.replicas[a.from], a.last, to, outcomeOf(a.last))
	return a.last
}

func outcomeOf(n uint64) *kv.Request {
	return &kv.Request{Outcome: &kv.OutcomeOf{ID: txid(n), Term: 1, AsOf: 1, Anchor: kv.MakeHashKey(1, 0, []byte("k"))}}
}

// sent is the one call that the node has just sent, which nobody gets.
func (a *asker) sent() (to kv.NodeID, c *Call) {
	a.t.Helper()
	a.mail = nil
	a.turn(a.i)
	for _, m := range a.mail {
		msg, err := DecodeMessage(m.m)
		if err != nil {
			a.t.Fatal(err)
		}
		if msg.Call != nil {
			if c != nil {
				a.t.Fatalf("two calls at once: %+v and %+v", c, msg.Call)
			}
			to, c = kv.NodeID(m.to+1), msg.Call
		}
	}
	a.mail = nil
	if c == nil {
		a.t.Fatal("no call was sent")
	}
	return to, c
}

func (a *asker) done(from kv.NodeID, c *Call, resp *kv.Response, err *kv.Error) {
	a.node.Receive(a.now, from, Message{CallDone: &CallDone{Number: c.Number, Loop: c.Loop, Heard: a.node.Heard(), Response: resp, Err: err}})
}

// only is the one answer to a token, after which nothing of the call is left.
func (a *asker) only(token uint64) callAnswer {
	a.t.Helper()
	if len(a.told[token]) != 1 {
		a.t.Fatalf("call %d has the answers %+v", token, a.told[token])
	}
	if n := len(a.node.calls.byNumber) + len(a.node.calls.failed); n != 0 {
		a.t.Errorf("%d calls are still kept", n)
	}
	return a.told[token][0]
}

func (a *asker) idle() {
	a.t.Helper()
	for i, n := range a.nodes {
		for _, g := range n.nodeLoad() {
			if g.Now > g.Idle && (g.Name == "calls under way" || g.Name == "calls that have failed" || g.Name == "calls of other nodes") {
				a.t.Errorf("node %d holds %d %s", i+1, g.Now, g.Name)
			}
		}
	}
}

// led makes one node lead a partition.
func (w *trio) led(p kv.PartitionID, by int) {
	w.t.Helper()
	for range 20 {
		i, _ := w.leads(p)
		if i == by {
			return
		}
		w.tell(i, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: p, To: kv.NodeID(by + 1)}})
		w.run(time.Second)
	}
	w.t.Fatalf("node %d does not lead partition %d", by+1, p)
}

// TestCallReachesTheLeader: wherever it is, and what comes twice is told once.
func TestCallReachesTheLeader(t *testing.T) {
	a, top := newAsker(t, 2)
	to := top.Partitions[1].Descriptor.Partition
	for i := range a.nodes {
		a.led(to, i)
		token := a.call(to)
		a.turn(a.i)
		for len(a.told[token]) == 0 && len(a.mail) > 0 {
			a.mail = append(a.mail, a.mail...) // each twice
			a.deliver()
		}
		for a.deliver() {
		}
		if x := a.only(token); x.err == nil || x.err.Kind != kv.WrongPartition || len(x.err.Key) == 0 { // the anchor is not there
			t.Errorf("led by node %d: %+v, %v", i+1, x.resp, x.err)
		}
		q := outcomeOf(token)
		q.Outcome.Anchor = top.Partitions[1].Descriptor.Span.Start
		a.last++
		a.node.call(a.node.replicas[a.from], a.last, to, q)
		a.run(50 * time.Millisecond)
		if x := a.only(a.last); x.err != nil || x.resp.Outcome != kv.OutcomeAborted || x.resp.Heard == 0 {
			t.Errorf("led by node %d: %+v, %v", i+1, x.resp, x.err)
		}
		if q.Partition != 0 {
			t.Error("the partition's request was changed")
		}
	}
	a.idle()
}

// TestCallFollowsWhatItIsTold: from the core over a replica to the leader, whom the next call asks at once.
func TestCallFollowsWhatItIsTold(t *testing.T) {
	a, _ := newAsker(t, 1)
	const p = 900
	others := []kv.Replica{{ID: 1, Node: 7, Role: kv.RoleVoter}, {ID: 2, Node: 8, Role: kv.RoleVoter}, {ID: 3, Node: 9, Role: kv.RoleLearner}}
	d := &kv.Descriptor{Partition: p, Generation: 1, NextReplica: 4, Replicas: others}
	token := a.call(p)
	to, c := a.sent()
	if core, _ := a.leads(kv.SystemPartition); to != kv.NodeID(core+1) || c.Find != p || c.Request != nil {
		t.Fatalf("first node %d is asked %+v", to, c)
	}
	first := c
	a.done(to, c, nil, &kv.Error{Kind: kv.WrongPartition, Partition: p, Descriptors: []*kv.Descriptor{d}})
	to, c = a.sent()
	if to != 7 && to != 8 || c.Request == nil || c.Request.Partition != p {
		t.Fatalf("then node %d is asked %+v", to, c)
	}
	a.done(to, first, nil, &kv.Error{Kind: kv.Invalid}) // a copy of an answer that was heeded
	leader := 15 - to
	a.done(9, c, &kv.Response{}, nil) // from a node that was not asked
	a.done(to, c, nil, &kv.Error{Kind: kv.NotLeader, Leader: leader})
	to, c = a.sent()
	if to != leader {
		t.Fatalf("node %d leads, node %d is asked", leader, to)
	}
	a.done(to, c, &kv.Response{Outcome: kv.OutcomeCommitted, Timestamp: 5}, nil)
	a.done(to, c, &kv.Response{}, nil)
	if x := a.only(token); x.err != nil || x.resp.Timestamp != 5 {
		t.Errorf("%+v, %v", x.resp, x.err)
	}
	token = a.call(p)
	if to, c = a.sent(); to != leader || c.Find != 0 {
		t.Errorf("the next call goes to node %d: %+v", to, c)
	}
	a.done(to, c, nil, &kv.Error{Kind: kv.WrongPartition, Partition: p}) // it has no replica any more, and not the core's state
	if to, c = a.sent(); c.Find != p {
		t.Errorf("then node %d is asked %+v", to, c)
	}
	a.done(to, c, nil, &kv.Error{Kind: kv.WrongPartition, Partition: p})
	if x := a.only(token); x.err == nil || x.err.Kind != kv.WrongPartition {
		t.Errorf("a partition that the core does not know: %v", x.err)
	}
}

// TestCallGivesUpHopping: nodes that name each other.
func TestCallGivesUpHopping(t *testing.T) {
	a, _ := newAsker(t, 1)
	a.node.calls.learn(900, 7)
	token := a.call(900)
	for range hopsMax + 1 {
		to, c := a.sent()
		a.done(to, c, nil, &kv.Error{Kind: kv.NotLeader, Leader: 15 - to})
	}
	if x := a.only(token); x.err == nil || x.err.Kind != kv.Unavailable {
		t.Errorf("%v", x.err)
	}
	token = a.call(900)
	to, c := a.sent()
	a.done(to, c, nil, &kv.Error{Kind: kv.NotLeader})
	if x := a.only(token); x.err == nil || x.err.Kind != kv.Unavailable || a.node.calls.leaders[900] != 0 {
		t.Errorf("%v", x.err)
	}
}

// TestCallToAnUnknownPartition: the core's leader says that there is none.
func TestCallToAnUnknownPartition(t *testing.T) {
	a, _ := newAsker(t, 1)
	token := a.call(900)
	a.run(50 * time.Millisecond)
	if x := a.only(token); x.err == nil || x.err.Kind != kv.WrongPartition || len(x.err.Descriptors) != 0 {
		t.Errorf("%v", x.err)
	}
	a.idle()
}

// TestCallEndsWithItsConnection, at once; a late answer is nobody's.
func TestCallEndsWithItsConnection(t *testing.T) {
	a, _ := newAsker(t, 1)
	a.node.calls.learn(900, 7)
	a.node.calls.learn(901, 8)
	gone, stays := a.call(900), a.call(901)
	a.turn(a.i)
	var late *Call
	for _, m := range a.mail {
		if msg, err := DecodeMessage(m.m); err == nil && msg.Call != nil && m.to == 6 {
			late = msg.Call
		}
	}
	a.mail = nil
	a.node.PeerLost(a.now, 7)
	if x := a.told[gone]; len(x) != 1 || kv.KindOf(x[0].err) != kv.Unavailable || len(a.told[stays]) != 0 {
		t.Errorf("%+v, %+v", x, a.told[stays])
	}
	a.done(7, late, &kv.Response{}, nil)
	if len(a.told[gone]) != 1 {
		t.Errorf("a late answer is told: %+v", a.told[gone])
	}
	a.node.PeerLost(a.now, 7)
	a.node.PeerLost(a.now, 8)
	if x := a.told[stays]; len(x) != 1 || kv.KindOf(x[0].err) != kv.Unavailable || len(a.told[gone]) != 1 {
		t.Errorf("%+v, %+v", x, a.told[gone])
	}
	a.idle()
}

// TestCallTimesOut: nobody answers, and the partition hears of that.
func TestCallTimesOut(t *testing.T) {
	a, _ := newAsker(t, 1)
	a.node.calls.learn(900, 7)
	token := a.call(900)
	for range 200 { // mail to node 7 goes nowhere, all other mail arrives
		a.now += kv.Instant(10 * time.Millisecond)
		for i, n := range a.nodes {
			n.Tick(a.now, 1_700_000_000_000+int64(a.now)/1e6)
			a.turn(i)
		}
		a.mailInside()
	}
	if x := a.only(token); kv.KindOf(x.err) != kv.Timeout || a.node.calls.leaders[900] != 0 {
		t.Errorf("%v", x.err)
	}
}

// mailInside delivers what is for nodes of the trio.
func (w *trio) mailInside() {
	for len(w.mail) > 0 {
		var inside []mail
		for _, m := range w.mail {
			if m.to < len(w.nodes) {
				inside = append(inside, m)
			}
		}
		w.mail = inside
		w.deliver()
	}
}

// TestCallEndsWithItsTerm: what a term asked nobody is told in another one (A5).
//
// Shows A5.
func TestCallEndsWithItsTerm(t *testing.T) {
	a, _ := newAsker(t, 1)
	a.node.calls.learn(900, 7)
	token := a.call(900)
	to, c := a.sent()
	a.tell(a.i, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: a.from}})
	for range 50 {
		if !a.node.replicas[a.from].leading {
			break
		}
		a.run(10 * time.Millisecond)
	}
	if len(a.node.calls.byNumber) != 0 {
		t.Error("the call outlives its term")
	}
	a.led(a.from, a.i)
	a.done(to, c, &kv.Response{}, nil)
	if len(a.told[token]) != 0 {
		t.Errorf("%+v", a.told[token])
	}
	a.idle()
}

// TestCallsAreBounded: what is too much fails at the next tick, and the rest goes on.
func TestCallsAreBounded(t *testing.T) {
	a, _ := newAsker(t, 1)
	a.node.calls.learn(900, 7)
	for range callsMax {
		a.call(900)
	}
	over := a.call(900)
	if len(a.told) != 0 {
		t.Fatal("a call was answered inside of itself")
	}
	a.mail = nil
	a.node.Tick(a.now, 0)
	if len(a.told) != 1 || kv.KindOf(a.told[over][0].err) != kv.Unavailable {
		t.Errorf("%d answers, the last call has %+v", len(a.told), a.told[over])
	}
	a.node.PeerLost(a.now, 7)
	if len(a.told) != callsMax+1 {
		t.Errorf("%d answers to %d calls", len(a.told), callsMax+1)
	}
	a.idle()
}

// TestCalled: every call is answered, whatever the replica that it comes to is doing, and none is kept.
func TestCalled(t *testing.T) {
	w, top := hashed(t, 2)
	d := top.Partitions[0].Descriptor
	leader, term := w.leads(d.Partition)
	follower := (leader + 1) % 3
	answer := func(i int, c *Call, wait time.Duration) *CallDone {
		t.Helper()
		c.Number = 77
		var done *CallDone
		w.mail = nil
		w.nodes[i].Receive(w.now, 9, Message{Call: c})
		for end := w.now + kv.Instant(wait); done == nil; {
			w.turn(i)
			for _, m := range w.mail {
				msg, err := DecodeMessage(m.m)
				if err != nil {
					t.Fatal(err)
				}
				if msg.CallDone != nil && m.to == 8 && msg.CallDone.Number == 77 {
					done = msg.CallDone
				}
			}
			w.mail = nil
			if w.now += kv.Instant(10 * time.Millisecond); w.now > end {
				break
			}
			w.nodes[i].Tick(w.now, 1_700_000_000_000+int64(w.now)/1e6)
		}
		if done == nil {
			t.Fatalf("no answer to %+v", c)
		}
		if n := len(w.nodes[i].called.open); n != 0 {
			t.Errorf("%d calls are still kept", n)
		}
		return done
	}
	at := func(r kv.Request) *Call {
		r.Partition = d.Partition
		return &Call{Request: &r}
	}
	outcome := kv.Request{Outcome: &kv.OutcomeOf{ID: txid(1), Term: term, AsOf: w.nodes[leader].Heard(), Anchor: d.Span.Start}}
	if x := answer(follower, at(outcome), time.Second); x.Err == nil || x.Err.Kind != kv.NotLeader || x.Err.Leader != kv.NodeID(leader+1) {
		t.Errorf("a follower says %+v, %v", x.Response, x.Err)
	}
	for _, r := range []kv.Request{{Read: &kv.Read{Keys: []kv.Key{d.Span.Start}}}, {Scan: &kv.Scan{Span: d.Span}}, {Commit: &kv.Commit{ID: txid(1)}}} {
		if x := answer(leader, at(r), time.Second); x.Err == nil || x.Err.Kind != kv.Invalid {
			t.Errorf("%+v is answered %+v, %v", r, x.Response, x.Err)
		}
	}
	unwritten := &kv.Commit{ID: txid(2), Term: term, AsOf: w.nodes[leader].Heard(), Start: w.nodes[leader].Heard(), Reads: []kv.ReadMark{{Key: d.Span.Start}}}
	if r := w.ask(leader, &kv.Request{Partition: d.Partition, Commit: unwritten}); r.Err != nil {
		t.Fatal(r.Err)
	}
	heard := w.nodes[leader].Heard()
	q := *outcome.Outcome
	q.ID = txid(2)
	x := answer(leader, at(kv.Request{Outcome: &q}), time.Second)
	if x.Err != nil || x.Response.Outcome != kv.OutcomeCommitted || x.Heard < heard {
		t.Errorf("an outcome that wrote nothing: %+v, %v", x.Response, x.Err)
	}
	if x := answer(leader, &Call{Request: &kv.Request{Partition: 900, Outcome: &q}}, time.Second); x.Err == nil || x.Err.Kind != kv.WrongPartition {
		t.Errorf("a partition that is not here: %v", x.Err)
	}
	core, _ := w.leads(kv.SystemPartition)
	if x := answer(core, &Call{Find: d.Partition}, time.Second); x.Err == nil || x.Err.Kind != kv.WrongPartition || len(x.Err.Descriptors) != 1 || x.Err.Descriptors[0].Partition != d.Partition {
		t.Errorf("found: %+v", x.Err)
	}
	other := (core + 1) % 3
	if x := answer(other, &Call{Find: 900}, time.Second); x.Err == nil || x.Err.Kind != kv.NotLeader || x.Err.Leader != kv.NodeID(core+1) {
		t.Errorf("one who may not know everything says %v", x.Err)
	}
	w.alone(follower, 2*time.Second)
	if x := answer(follower, at(outcome), time.Second); x.Err == nil || x.Err.Kind != kv.Unavailable {
		t.Errorf("nobody leads: %v", x.Err)
	}
}
