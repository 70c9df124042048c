package session

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Retries that take another turn than the plain one.
const (
	// redirectsMax is how many times in a row a call follows an answer that names the node or
	// partition to go to, before it waits: two nodes may believe in each other.
	redirectsMax = 3
	// refreshEvery is after how many failures in a row the map is asked for again.
	refreshEvery = 3
)

// Op is what a Call is to do.
type Op struct {
	// Key is a full key that decides the partition; with Before, the keys just below it do
	// (reverse scans; empty = the end of all keys).
	Key    kv.Key
	Before bool
	// Request has one part; its generation is filled in, and its partition. What it points to is
	// only read. The ID, Term and AsOf of a commit are filled in as well, unless Named.
	Request kv.Request
	// Named: the commit's name is the caller's own. It is never sent under another one. Then,
	// and for an Outcome, the partition in Request is the one that the name was drawn for;
	// 0 = not known.
	Named bool
	// FirstID is the id of a commit's first attempt; zero: it is drawn.
	FirstID kv.TxID
	// Split: the keys of the commit may lie in several partitions; it is sent with Parts then. It
	// has a write, and Key is that of the first one. Without Split such a commit is WrongPartition.
	Split bool
	// Anywhere: any replica may answer. The nearest ones are tried first (near.go), then the leader.
	Anywhere bool
}

// ActionKind is what the shell is asked to do.
type ActionKind uint8

// The actions; each is answered by the named methods, or by Ended at any time.
const (
	Send    ActionKind = 1 // send Request to Node: Answered, Refused or Lost
	Wait    ActionKind = 2 // for Delay: Woke
	Refresh ActionKind = 3 // ask any node for the topology of Keyspace, and have Session.Learn take it: Refreshed
	Done    ActionKind = 4 // Response or Err is the result
)

// Action is what a Call wants next.
type Action struct {
	Kind     ActionKind
	Node     kv.NodeID
	Request  *kv.Request // read only, for ever
	Delay    time.Duration
	Keyspace string // "" = all
	Response *kv.Response
	Err      *kv.Error
}

// Stats counts what a call took.
type Stats struct {
	Attempts int // names of a commit that were tried
	Sends    int
	Backoff  time.Duration
}

// Call is one request on its way through retries.
type Call struct {
	s     *Session
	op    Op
	req   *kv.Request // as it was last sent
	node  kv.NodeID   // that it was last sent to
	turn  int         // which replica is next when nobody is known to lead
	state callState
	name  name
	tries tries
	stats Stats
	first copies
}

// name is the present attempt of a commit.
type name struct {
	commit   *kv.Commit     // with its name; nil = it has none
	home     kv.PartitionID // that it was drawn for; 0 = none. An Outcome has one too
	unsure   bool           // a copy under this name may have been executed
	inFlight bool           // a copy is under way
	parted   bool           // it has its parts
}

// tries is what did not work so far.
type tries struct {
	failures  int // in a row, without any final answer
	redirects int // in a row
	refreshed bool
	near      near
	last      *kv.Error // the newest refusal
}

// copies is room for the first copy that is sent, which is the only one as a rule.
type copies struct {
	request kv.Request
	commit  kv.Commit
}

// callState is what the call waits for.
type callState uint8

const (
	stateNew callState = iota
	stateSent
	stateWaiting
	stateRefreshing
	stateDone
)

// Begin starts a call. A finished Call may be used again, if nobody holds a Request of its
// actions any more.
func (c *Call) Begin(s *Session, op Op) Action {
	*c = Call{s: s, op: op}
	switch q := &op.Request; {
	case q.Commit != nil:
		c.stats.Attempts = 1
		if op.Split {
			c.op.Key = q.Commit.Writes[0].Key
		}
		if op.Named {
			c.name.commit, c.name.home = q.Commit, q.Partition
			c.name.unsure = true // the caller may have sent copies by another way
		}
	case q.Outcome != nil:
		c.name.home = q.Partition
	}
	return c.route()
}

// Stats counts what the call took so far.
func (c *Call) Stats() Stats { return c.stats }

// Request is what was last sent; nil before that. A Scan's span is cut to its partition.
func (c *Call) Request() *kv.Request { return c.req }

// Commit is the commit under its present name, and the partition that the name was drawn
// for; nil if it has none yet.
func (c *Call) Commit() (*kv.Commit, kv.PartitionID) { return c.name.commit, c.name.home }

// Node is who the last copy was sent to; 0 before that.
func (c *Call) Node() kv.NodeID { return c.node }

// Last is the newest answer that was not final; nil if there was none.
func (c *Call) Last() *kv.Error { return c.tries.last }

// Place is where the last copy was sent to, as the map has it now.
func (c *Call) Place() (*Place, bool) {
	if c.req == nil {
		return nil, false
	}
	return c.s.Map.Partition(c.req.Partition)
}

// route decides where the call goes next.
func (c *Call) route() Action {
	place, ok := c.s.Map.Find(c.op.Key, c.op.Before)
	if !ok {
		return c.homeless(c.op.Key)
	}
	if c.outgrown(place) && !c.name.unsure && !c.op.Named {
		c.forgetName() // every copy was refused, so nothing was done under it
	}
	if !c.fits(place) {
		return c.end(&kv.Error{
			Kind: kv.WrongPartition, Descriptors: []*kv.Descriptor{place.Descriptor},
			Message: "the keys are not in one partition: part them",
		})
	}
	node, ok := c.chooseNode(place)
	if !ok {
		return c.lost(kv.Errorf(kv.Unavailable, "partition %d has no voter that is known", place.Descriptor.Partition))
	}
	if c.op.Split && !c.name.parted {
		if missing := c.part(place); missing != nil {
			return c.homeless(missing)
		}
	}
	c.node = node
	c.address(place)
	c.state, c.name.inFlight = stateSent, true
	c.stats.Sends++
	return Action{Kind: Send, Node: c.node, Request: c.req}
}

// homeless: the map has no partition for a key.
func (c *Call) homeless(key kv.Key) Action {
	if c.state == stateRefreshing && c.s.Map.KeyspaceName(key) == "" {
		return c.end(kv.Errorf(kv.NotFound, "keyspace %d is not known: it has been dropped", key.Keyspace()))
	}
	return c.lost(&kv.Error{Kind: kv.Unavailable, Key: key, Message: "no partition is known that holds the key"})
}

// lost asks for the map, or waits if that has just been of no help.
func (c *Call) lost(why *kv.Error) Action {
	if c.state == stateRefreshing {
		return c.backoff(why)
	}
	c.tries.last = why
	return c.refresh()
}

// chooseNode is a near one, if any may answer, else the leader if one is known, else each voter in turn, the one just asked last.
func (c *Call) chooseNode(p *Place) (kv.NodeID, bool) {
	if n := c.nearest(p); n != 0 {
		return n, true
	}
	if p.Leader != 0 {
		return p.Leader, true
	}
	replicas := p.Descriptor.Replicas
	found := false
	for range replicas {
		r := replicas[c.turn%len(replicas)]
		c.turn++
		if r.Role != kv.RoleVoter {
			continue
		}
		if r.Node != c.node {
			return r.Node, true
		}
		found = true
	}
	return c.node, found
}

// fits reports whether all keys of the request lie in a partition. Scans are cut to fit, commits
// that may be are parted.
func (c *Call) fits(p *Place) bool {
	q := &c.op.Request
	switch {
	case c.op.Split:
		return !c.outgrown(p)
	case q.Commit != nil:
		return holds(p.Descriptor.Span, q.Commit)
	case q.Read != nil:
		for _, k := range q.Read.Keys {
			if !p.Descriptor.Span.Contains(k) {
				return false
			}
		}
	}
	return true
}

// address writes the request for a partition. What was sent before is never changed: a
// copy of it may still be on its way.
func (c *Call) address(p *Place) {
	d := p.Descriptor
	if c.req != nil && c.req.Partition == d.Partition && c.req.Generation == d.Generation {
		return // a resend
	}
	q := &c.first.request
	if c.stats.Sends > 0 {
		q = new(kv.Request)
	}
	*q = c.op.Request
	q.Partition, q.Generation = d.Partition, d.Generation
	switch {
	case q.Scan != nil:
		s := *q.Scan
		s.Span = d.Span.Clamp(s.Span)
		q.Scan = &s
	case q.Commit != nil:
		q.Commit = c.commitFor(p)
	case q.Outcome != nil && c.name.home != 0 && c.name.home != d.Partition:
		o := *q.Outcome
		o.Term = 0 // see commitFor
		q.Outcome = &o
	}
	c.req = q
}

// commitFor is the commit as it is sent to a partition: under its name, which is drawn if
// it has none. A name is tied to the partition that it was drawn for: terms of two
// partitions are not comparable. To another one goes a copy that names term 0, which is
// nobody's: it finds the outcome, or proof that there will be none, and is never executed.
func (c *Call) commitFor(p *Place) *kv.Commit {
	if c.name.commit == nil {
		m := &c.first.commit
		if c.stats.Attempts > 1 {
			m = new(kv.Commit)
		}
		*m = *c.op.Request.Commit
		c.baptize(m, p)
		c.name.commit = m
	}
	if c.name.home == 0 {
		c.name.home = p.Descriptor.Partition
	}
	if c.name.home == p.Descriptor.Partition {
		return c.name.commit
	}
	question := *c.name.commit
	question.Term, question.Parts = 0, nil
	if c.op.Split { // the other keys may be elsewhere
		question.Reads, question.Spans = nil, nil
		question.Writes = question.Writes[:1]
	}
	return &question
}

// baptize gives a commit a new name.
func (c *Call) baptize(m *kv.Commit, p *Place) {
	m.ID, m.Term, m.AsOf = c.op.FirstID, p.Term, c.s.heard
	if c.stats.Attempts > 1 || m.ID.IsZero() {
		m.ID = c.s.NewID()
	}
}

// forgetName makes the next copy go out under a new name.
func (c *Call) forgetName() {
	c.name = name{}
	c.req = nil
	c.stats.Attempts++
}

func (c *Call) refresh() Action {
	c.state, c.tries.refreshed = stateRefreshing, true
	return Action{Kind: Refresh, Keyspace: c.area()}
}

// backoff waits after a failure that says nothing final.
func (c *Call) backoff(why *kv.Error) Action {
	c.tries.last = why
	d := c.s.Jitter(c.tries.failures)
	c.tries.failures++
	c.tries.redirects = 0
	c.stats.Backoff += d
	c.state = stateWaiting
	return Action{Kind: Wait, Delay: d}
}

// redirect goes on at once to where an answer pointed, unless it has done so for too long.
func (c *Call) redirect(why *kv.Error) Action {
	if c.tries.redirects++; c.tries.redirects > redirectsMax {
		return c.backoff(why)
	}
	c.tries.last = why
	return c.route()
}

func (c *Call) fail(e *kv.Error) Action {
	c.state = stateDone
	return Action{Kind: Done, Err: e}
}

// Woke: the wait is over.
func (c *Call) Woke() Action {
	if c.state != stateWaiting {
		return c.misused("Woke")
	}
	if c.tries.failures%refreshEvery == 0 {
		return c.refresh()
	}
	return c.route()
}

// Refreshed: the map has been asked for, and has learned the answer if err is nil.
func (c *Call) Refreshed(err *kv.Error) Action {
	switch {
	case c.state != stateRefreshing:
		return c.misused("Refreshed")
	case err == nil:
		return c.route()
	case err.Kind == kv.NotFound:
		return c.end(err)
	}
	return c.backoff(err)
}

func (c *Call) misused(event string) Action {
	return c.fail(kv.Errorf(kv.Internal, "session: %s in state %d", event, c.state))
}
