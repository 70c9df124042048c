package sim

import (
	"slices"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// operations are what workloads are made of: each sends a request through the session and
// writes into the history what came of it. then is called with the operation as it was
// written down, whatever came.

// readOpts say how a read is done.
type readOpts struct {
	at       kv.Timestamp // 0: strong, or drawn by the leader
	past     bool         // the client chose the timestamp, so real time says nothing
	node     kv.NodeID    // ask this node first, whoever leads
	patience ns
	told     []check.Seen // what the client has been told of
	stale    kv.Stale     // who may answer, and from which state
	claim    kv.Age       // of a transaction that is about to write the keys
}

// read reads keys of one partition.
func (c *client) read(keys []kv.Key, o readOpts, then func(*check.Op)) {
	op := c.w.begin(c, check.Read)
	op.Past, op.Told = o.past, o.told
	op.Strong = len(keys) == 1 && o.at == 0
	req := kv.Request{Read: &kv.Read{Keys: keys, Timestamp: o.at}}
	c.do(session.Op{Key: keys[0], Request: req}, &call{node: o.node, done: func(r *kv.Response, err *kv.Error) {
		if err == nil {
			op.Timestamp = r.Timestamp
			op.Reads = seen(keys, r)
		}
		c.w.end(op, r != nil, err)
		then(op)
	}}, c.patience(o.patience))
}

// ask reads one key from one node, and takes no for an answer: a client that follows hints
// ends up with the leader that everybody believes in.
func (c *client) ask(to kv.NodeID, k kv.Key, patience ns, then func(*check.Op)) {
	w := c.w
	place, ok := c.s.Map.Find(k, false)
	if !ok {
		c.refresh("", 0, func(*kv.Error) { then(nil) })
		return
	}
	op := w.begin(c, check.Read)
	op.Strong = true
	over := false
	end := func(r *kv.Response, err *kv.Error) {
		if over {
			return
		}
		over = true
		if err == nil {
			op.Reads = seen([]kv.Key{k}, r)
		}
		w.end(op, err == nil, err)
		then(op)
	}
	req := &kv.Request{Partition: place.Descriptor.Partition, Generation: place.Descriptor.Generation, Read: &kv.Read{Keys: []kv.Key{k}}}
	w.send(to, req, nil, func(a answer) { end(a.response, a.err) })
	w.after(patience, func() { end(nil, kv.Errorf(kv.Timeout, "node %d has not answered for %d ms", to, patience/ms)) })
}

// seen is what a response says of the keys that were asked for.
func seen(keys []kv.Key, r *kv.Response) []check.Seen {
	rows := r.Rows
	all := make([]check.Seen, len(keys))
	for i, k := range keys {
		all[i].Key = string(k)
		if i < len(r.Found) && r.Found[i] && len(rows) > 0 {
			all[i] = check.Seen{Key: string(k), Value: string(rows[0].Value), Version: rows[0].Version, Found: true}
			rows = rows[1:]
		}
	}
	return all
}

func (c *client) patience(p ns) ns {
	if p == 0 {
		p = c.w.between(c.w.cfg.Load.PatienceMin, c.w.cfg.Load.PatienceMax)
	}
	return p
}

// scan reads a span, page by page, all pages at one timestamp.
func (c *client) scan(span kv.Span, o readOpts, then func(*check.Op)) {
	op := c.w.begin(c, check.Scan)
	op.Past, op.Told = o.past, o.told
	c.page(op, span, span, o, then)
}

// page reads what is left of the span of a scan. The second page is asked for at the first one's timestamp.
func (c *client) page(op *check.Op, whole, left kv.Span, o readOpts, then func(*check.Op)) {
	reverse := op.Client%2 == 1
	req := kv.Request{Scan: &kv.Scan{Span: left, Timestamp: o.at, Keys: 1 + c.w.rng.IntN(40), Reverse: reverse, Stale: o.stale}}
	target := session.Op{Key: left.Start, Request: req}
	if reverse {
		target.Key, target.Before = left.End, true
	}
	k := &call{node: o.node}
	k.done = func(r *kv.Response, err *kv.Error) {
		if err != nil {
			c.w.end(op, false, err)
			then(op)
			return
		}
		c.w.followed(o, r)
		if o.at == 0 {
			o.at = r.Timestamp
		}
		done := k.machine.Request().Scan.Span // a session cuts a span to the partition
		op.Timestamp = o.at
		addRows(op, whole, r.Rows)
		next := rest(left, done, r.Resume, reverse)
		if next.IsEmpty() {
			c.finishScan(op, reverse, then)
			return
		}
		c.page(op, whole, next, o.next(c, o.at), then)
	}
	c.do(target, k, c.patience(o.patience))
}

// rest is what is left to read of left, after a page over done that ended at resume.
func rest(left, done kv.Span, resume kv.Key, reverse bool) kv.Span {
	switch {
	case reverse && resume != nil:
		return kv.Span{Start: left.Start, End: resume}
	case reverse:
		return kv.Span{Start: left.Start, End: done.Start}
	case resume != nil:
		return kv.Span{Start: resume, End: left.End}
	case len(done.End) == 0:
		return kv.Span{Start: kv.Key{1}, End: kv.Key{0}}
	}
	return kv.Span{Start: done.End, End: left.End}
}

func addRows(op *check.Op, whole kv.Span, rows []kv.Row) {
	if len(op.Scanned) == 0 {
		op.Scanned = []check.Scanned{{Span: whole}}
	}
	for _, r := range rows {
		op.Scanned[0].Rows = append(op.Scanned[0].Rows, check.Seen{Key: string(r.Key), Value: string(r.Value), Version: r.Version, Found: true})
	}
}

func (c *client) finishScan(op *check.Op, reverse bool, then func(*check.Op)) {
	if reverse && len(op.Scanned) > 0 {
		slices.Reverse(op.Scanned[0].Rows)
	}
	c.w.end(op, true, nil)
	then(op)
}

// change is a commit that a client wants to make.
type change struct {
	writes   []kv.Write
	reads    []check.Seen
	spans    []check.Scanned
	start    kv.Timestamp
	node     kv.NodeID
	patience ns
	forget   bool // the client stops waiting for good: the outcome stays unknown
	once     ns   // copyPatience, 0 = any
	delay    ns   // before the client asks for the outcome
	resend   bool // it does not ask, but sends the same commit again
	age      kv.Age
	told     []check.Seen // what the client has been told of
}

// commit makes a change. If its fate stays unknown the client asks for the outcome until
// it knows, unless it is one that forgets.
func (c *client) commit(x change, then func(*check.Op)) {
	q := c.parted(&x)
	var op *check.Op
	var sent *kv.Commit
	k := &call{node: x.node, copyPatience: x.once}
	k.begun = func(m *kv.Commit) {
		if op != nil && op.ID == m.ID {
			return
		}
		if op != nil { // the session has given the old name up for dead
			op.Result, op.Return = check.Refused, c.w.now
		}
		sent = m
		op = c.w.begin(c, check.Commit)
		op.ID, op.Reads, op.Scanned, op.Told = m.ID, x.reads, x.spans, x.told
		op.Change = &check.Change{Start: x.start, Writes: x.writes}
	}
	k.done = func(r *kv.Response, err *kv.Error) {
		if op == nil { // nothing was ever sent
			op = &check.Op{Client: c.id, Kind: check.Commit, Result: check.Refused, Change: &check.Change{}}
			then(op)
			return
		}
		switch {
		case err == nil:
			op.Timestamp, op.Change.Sums = r.Timestamp, r.Sums
			c.w.end(op, true, nil)
		case err.Kind == kv.Ambiguous && !x.forget:
			home := k.home()
			c.w.after(x.delay, func() { c.resolve(op, sent, home, x.resend, then) })
			return
		default:
			c.w.refused(op, err)
		}
		then(op)
	}
	c.do(session.Op{Key: x.writes[0].Key, Request: kv.Request{Commit: q}}, k, c.patience(x.patience))
}

// home is the partition that the call's commit was last sent to.
func (k *call) home() kv.PartitionID {
	if r := k.machine.Request(); r != nil {
		return r.Partition
	}
	return 0
}

// resolve finds out what became of a commit.
func (c *client) resolve(op *check.Op, m *kv.Commit, home kv.PartitionID, resend bool, then func(*check.Op)) {
	if !resend {
		c.outcome(op, m, home, then)
		return
	}
	req := kv.Request{Partition: home, Commit: m}
	c.do(session.Op{Key: m.Writes[0].Key, Request: req, Named: true}, &call{done: func(r *kv.Response, err *kv.Error) {
		switch {
		case err == nil:
			op.Timestamp, op.Change.Sums = r.Timestamp, r.Sums
			c.w.end(op, true, nil)
		case err.Kind == kv.Aborted:
			op.Result, op.Return = check.Refused, c.w.now
		}
		then(op)
	}}, opPatienceMax)
}

// outcome asks for the fate of a commit until it is known.
func (c *client) outcome(op *check.Op, m *kv.Commit, home kv.PartitionID, then func(*check.Op)) {
	req := kv.Request{Partition: home, Outcome: &kv.OutcomeOf{ID: m.ID, Term: m.Term, AsOf: m.AsOf, Anchor: m.Writes[0].Key}}
	c.do(session.Op{Key: m.Writes[0].Key, Request: req}, &call{done: func(r *kv.Response, err *kv.Error) {
		switch {
		case err == nil && r.Outcome == kv.OutcomeCommitted:
			op.Timestamp = r.Timestamp
			c.w.end(op, true, nil)
		case err == nil && r.Outcome == kv.OutcomeAborted:
			op.Result, op.Return = check.Refused, c.w.now
		case err != nil && err.Kind == kv.Aborted:
			op.Result, op.Return = check.Refused, c.w.now
		}
		c.w.outcomeTold(m.ID, r, err)
		then(op)
	}}, opPatienceMax)
}
