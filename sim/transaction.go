package sim

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// stampedReads: a leader draws a timestamp for a read of one key too, if it is asked for one (kv.Read.Stamped). Where it
// does not, such a read takes the key's neighbour with it.
const stampedReads = true

// attemptsMax is how many times a client tries a transaction that meets others.
const attemptsMax = 6

// plan is what a transaction does: it reads keys and then spans, all at one timestamp, and decides what to write.
type plan struct {
	keys   []kv.Key
	spans  []kv.Span
	at     kv.Timestamp // that the reads are at, if they are to be of the past; 0: drawn
	decide func(a *attempt)
	told   []check.Seen
}

// attempt is one attempt of a transaction: what it has read, and what it has decided.
type attempt struct {
	reads  *check.Op
	spans  []check.Scanned
	marks  []check.Seen // what of the reads must still hold; nil: all
	writes []kv.Write   // none: it was only to read
	micros []check.Micro
	commit *check.Op // nil: nothing was to be written, or it came not so far
}

// seen is what the attempt has read of a key.
func (a *attempt) seen(k kv.Key) check.Seen {
	i := slices.IndexFunc(a.reads.Reads, func(r check.Seen) bool { return r.Key == string(k) })
	return a.reads.Reads[i]
}

func (a *attempt) put(k kv.Key, value []byte) {
	a.writes = append(a.writes, kv.Write{Kind: kv.WritePut, Key: k, Value: value})
}

// transact brings a transaction to its end: one that met another is tried again, under a new id, of the same age, with
// what it reads then (rules A7, I5). then is told of the last attempt.
func (c *client) transact(p plan, then func(*attempt)) { c.try(p, c.age(), 1, then) }

// age is that of a transaction which begins now.
func (c *client) age() (a kv.Age) {
	id := c.s.NewID()
	binary.BigEndian.PutUint64(a[:], uint64(c.w.now))
	copy(a[8:], id[:])
	return a
}

func (c *client) try(p plan, age kv.Age, n int, then func(*attempt)) {
	w := c.w
	a := &attempt{}
	call := w.now
	claim := kv.Age{}
	if n%2 == 0 { // in the order of the plan: transactions may wait for each other
		claim = age
	}
	c.snapshot(p, a, claim, func(ok bool) {
		if !ok {
			then(a)
			return
		}
		p.decide(a)
		if len(a.writes) == 0 {
			w.listed(c, call, a, check.Done)
			then(a)
			return
		}
		t := w.listed(c, call, a, check.Unknown)
		x := change{writes: w.anchored(a.writes), reads: a.reads.Reads, spans: a.spans, start: a.reads.Timestamp, age: age, told: p.told}
		if a.marks != nil {
			x.reads = a.marks
		}
		w.after(w.upTo(w.cfg.Load.Think/4+1), func() {
			c.commit(x, func(o *check.Op) {
				a.commit = o
				if t.Result = o.Result; t.Result != check.Unknown {
					t.Return = w.now
				}
				if o.Result != check.Refused || n == attemptsMax || w.phase.stopped {
					then(a)
					return
				}
				w.hist.counts["transaction again"]++
				w.after(ns(c.s.Jitter(n)), func() { c.try(p, age, n+1, then) })
			})
		})
	})
}

// listed writes an attempt down for those who judge transactions over lists, if it has to do with lists.
func (w *World) listed(c *client, call ns, a *attempt, r check.Result) *check.Transaction {
	t := &check.Transaction{Result: r, Call: call, Return: check.Never, Micros: a.micros}
	if r == check.Done {
		t.Return = w.now
	}
	if len(a.micros) > 0 {
		t.Name = fmt.Sprintf("T%d/%d", len(w.hist.lists)+1, c.id)
		w.hist.lists = append(w.hist.lists, t)
	}
	return t
}

// snapshot reads what a plan reads, for an attempt that claims it or does not.
func (c *client) snapshot(p plan, a *attempt, claim kv.Age, then func(ok bool)) {
	first := readOpts{at: p.at, past: p.at != 0, told: p.told, claim: claim}
	if len(p.keys) == 0 {
		c.scan(p.spans[0], first, func(o *check.Op) {
			if o.Result != check.Done {
				then(false)
				return
			}
			a.reads = &check.Op{Timestamp: o.Timestamp}
			a.spans = append(a.spans, o.Scanned...)
			c.scanAll(p.spans[1:], o.Timestamp, a, then)
		})
		return
	}
	first.node = c.somewhere()
	c.readAll(p.keys, first, func(o *check.Op) {
		a.reads = o
		if o.Result != check.Done {
			then(false)
			return
		}
		c.scanAll(p.spans, o.Timestamp, a, then)
	})
}

// scanAll scans spans at a timestamp that is drawn already.
func (c *client) scanAll(spans []kv.Span, at kv.Timestamp, a *attempt, then func(ok bool)) {
	if len(spans) == 0 {
		then(true)
		return
	}
	c.scan(spans[0], readOpts{at: at, past: true}, func(o *check.Op) {
		if o.Result != check.Done {
			then(false)
			return
		}
		a.spans = append(a.spans, o.Scanned...)
		c.scanAll(spans[1:], at, a, then)
	})
}

// readAll reads keys of any partitions at one timestamp, one partition after the other. Without a timestamp the leader
// of the first one draws it.
func (c *client) readAll(keys []kv.Key, o readOpts, then func(*check.Op)) {
	op := c.w.begin(c, check.Read)
	op.Past, op.Told = o.past, o.told
	groups, ok := c.byPartition(keys)
	if ok {
		c.readGroups(op, groups, o, then)
		return
	}
	c.refresh("", 0, func(*kv.Error) {
		if groups, ok = c.byPartition(keys); !ok {
			c.w.end(op, false, kv.Errorf(kv.Unavailable, "the map does not know where key %q is", keys[0]))
			then(op)
			return
		}
		c.readGroups(op, groups, o, then)
	})
}

// byPartition parts keys; false if the map does not know where one of them is.
func (c *client) byPartition(keys []kv.Key) (groups [][]kv.Key, ok bool) {
	at := map[kv.PartitionID]int{}
	for _, k := range keys {
		p, ok := c.s.Map.Find(k, false)
		if !ok {
			return nil, false
		}
		i, ok := at[p.Descriptor.Partition]
		if !ok {
			i = len(groups)
			at[p.Descriptor.Partition] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], k)
	}
	return groups, true
}

func (c *client) readGroups(op *check.Op, groups [][]kv.Key, o readOpts, then func(*check.Op)) {
	if len(groups) == 0 {
		c.w.end(op, true, nil)
		then(op)
		return
	}
	keys := groups[0]
	if o.at == 0 && len(keys) == 1 && !stampedReads {
		keys = append(keys, keys[0].Next())
	}
	req := kv.Request{Read: &kv.Read{Keys: keys, Timestamp: o.at, Stamped: o.at == 0, Stale: o.stale, Claim: o.claim}}
	c.do(session.Op{Key: keys[0], Request: req}, &call{node: o.node, done: func(r *kv.Response, err *kv.Error) {
		if err != nil {
			c.w.end(op, false, err)
			then(op)
			return
		}
		c.w.followed(o, r)
		if o.at == 0 {
			o.at = r.Timestamp
		}
		op.Timestamp, op.Reads = o.at, append(op.Reads, seen(keys, r)...)
		c.readGroups(op, groups[1:], o.next(c, o.at), then)
	}}, c.patience(o.patience))
}

// anchorShare is the share of transactions of several writes whose anchor is any of them: which one it is is the client's choice
// (docs/adr/0022).
const anchorShare = 0.3

// anchored is writes in an order in which, now and then, any of them is the anchor.
func (w *World) anchored(writes []kv.Write) []kv.Write {
	if len(writes) < 2 || !w.chance(anchorShare) {
		return writes
	}
	all := slices.Clone(writes) // the workload may still look at its own
	i := w.rng.IntN(len(all))
	all[0], all[i] = all[i], all[0]
	return all
}

// parted is a change as a commit, addressed to the partition of its first write: what it reads and writes in others
// goes into parts. The writes of the change are put into the order of the commit's, in which sums come.
func (c *client) parted(x *change) *kv.Commit {
	q := &kv.Commit{Start: x.start, Age: x.age}
	anchor, known := c.s.Map.Find(x.writes[0].Key, false)
	part := func(k kv.Key) *kv.Part {
		p, ok := c.s.Map.Find(k, false)
		if !known || !ok || p == anchor {
			return nil
		}
		id := p.Descriptor.Partition
		i, there := slices.BinarySearchFunc(q.Parts, id, func(p kv.Part, id kv.PartitionID) int { return cmp.Compare(p.Partition, id) })
		if !there {
			q.Parts = slices.Insert(q.Parts, i, kv.Part{Partition: id, Generation: p.Descriptor.Generation})
		}
		return &q.Parts[i]
	}
	for _, wr := range x.writes {
		if p := part(wr.Key); p != nil {
			p.Writes = append(p.Writes, wr)
		} else {
			q.Writes = append(q.Writes, wr)
		}
	}
	for _, r := range x.reads {
		m := kv.ReadMark{Key: kv.Key(r.Key)}
		if p := part(m.Key); p != nil {
			p.Reads = append(p.Reads, m)
		} else {
			q.Reads = append(q.Reads, m)
		}
	}
	for _, s := range x.spans {
		if p := part(s.Span.Start); p != nil {
			p.Spans = append(p.Spans, s.Span)
		} else {
			q.Spans = append(q.Spans, s.Span)
		}
	}
	x.writes = slices.Clone(q.Writes)
	for _, p := range q.Parts {
		x.writes = append(x.writes, p.Writes...)
	}
	return q
}
