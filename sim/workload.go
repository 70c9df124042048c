package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// workload is what one client does over and over; then goes on to the next operation.
type workload func(c *client, then func())

// Load says how many clients do what.
type Load struct {
	Clients      int
	Mix          []Share
	Think        ns  // on average, between two operations of a client
	Keys         int // of each kind, per partition
	CopyPatience ns  // at most, for one copy of a request
	PatienceMin  ns  // for an operation
	PatienceMax  ns
	Anywhere     float64 // share of operations that ask any node first, whoever leads
	ValueBytes   int     // values are filled up to so many bytes
	Cross        float64 // share of transactions over several partitions
}

// Share is a workload with its weight.
type Share struct {
	Name   string
	Weight int
}

// workloads by name.
var workloads = map[string]workload{
	"register": register,
	"reader":   hotReader,
	"writer":   hotWriter,
	"counter":  counter,
	"txn":      transaction,
	"bank":     bank,
	"scan":     scan,
	"set":      set,
	"outcome":  outcomeAsker,
	"sideband": sideband,
	"hash":     hashRegister,
	"late":     late,
	"old":      old,
	"ahead":    ahead,
	"stale":    stale,
	"follow":   follow,
	"hold":     hold,

	"append":    appendLists,
	"transfer":  transfers,
	"skew":      skew,
	"predicate": predicate,
	"fork":      fork,
	"cycle":     cycle,
	"handover":  handover,
	"twins":     twins,
	"rival":     rival,
	"oneway":    oneway,
}

// bankTotal is what the accounts of each bank hold together.
const bankTotal, bankOpening = 1000, 100

// key is a full key in the range keyspace: kind and number, in the given partition.
func (w *World) key(partition int, kind string, n int) kv.Key {
	return w.spaces.ranges.FullKey([]byte(fmt.Sprintf("p%d/%s%03d", partition, kind, n)))
}

// span is all keys of a kind in a partition.
func (w *World) span(partition int, kind string) kv.Span {
	start := w.spaces.ranges.FullKey([]byte(fmt.Sprintf("p%d/%s", partition, kind)))
	return kv.Span{Start: start, End: kv.PrefixEnd(start)}
}

func (c *client) somePartition() int { return c.w.rng.IntN(c.w.cfg.Partitions) }
func (c *client) someKey() int       { return c.w.rng.IntN(c.w.cfg.Load.Keys) }
func (c *client) somewhere() kv.NodeID {
	if c.w.chance(c.w.cfg.Load.Anywhere) {
		return kv.NodeID(c.w.rng.IntN(len(c.w.machines)) + 1)
	}
	return 0
}

// value is unlike all others, so that a read names the write that it saw.
func (w *World) value() []byte {
	w.hist.values++
	v := strconv.AppendUint([]byte("v"), w.hist.values, 10)
	if n := w.cfg.Load.ValueBytes; n > len(v) {
		v = append(append(v, ' '), bytes.Repeat([]byte{'.'}, w.rng.IntN(n-len(v)+1))...)
	}
	return v
}

// register gets, puts, deletes and compares single keys.
func register(c *client, then func()) {
	w := c.w
	k := w.key(c.somePartition(), "reg", c.someKey())
	next := func(*check.Op) { then() }
	switch w.rng.IntN(10) {
	case 0, 1, 2, 3:
		c.read([]kv.Key{k}, readOpts{node: c.somewhere()}, next)
	case 4, 5, 6:
		c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, node: c.somewhere()}, next)
	case 7:
		c.commit(change{writes: []kv.Write{{Kind: kv.WriteDelete, Key: k}}}, next)
	default:
		c.read([]kv.Key{k}, readOpts{}, func(o *check.Op) {
			if o.Result != check.Done {
				then()
				return
			}
			c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value(), Expect: expectation(c, o.Reads[0])}}}, next)
		})
	}
}

// expectation is that a key is still as it was seen, by one of the ways to say so.
func expectation(c *client, s check.Seen) kv.Expect {
	switch {
	case !s.Found:
		return kv.Expect{Kind: kv.ExpectAbsent}
	case c.w.rng.IntN(2) == 0:
		return kv.Expect{Kind: kv.ExpectVersion, Version: s.Version}
	}
	return kv.Expect{Kind: kv.ExpectValue, Value: []byte(s.Value)}
}

// hashRegister is register without deletes in a keyspace whose partitions are hash buckets.
func hashRegister(c *client, then func()) {
	w := c.w
	k := w.spaces.hash.FullKey([]byte(fmt.Sprintf("h%03d", c.someKey())))
	if w.rng.IntN(2) == 0 {
		c.read([]kv.Key{k}, readOpts{node: c.somewhere()}, func(*check.Op) { then() })
		return
	}
	c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}}, func(*check.Op) { then() })
}

// hotReader reads one key of a few from any node, and gives up late: whoever believes in its
// lease answers. A reader that only asks the leader never meets a stale one.
func hotReader(c *client, then func()) {
	k := c.w.key(c.somePartition(), "hot", c.someKey())
	c.ask(kv.NodeID(c.w.rng.IntN(len(c.w.machines))+1), k, 4*s, func(*check.Op) { then() })
}

// hotWriter puts one key of a few, and gives up soon: else all writers wait on the node that has
// just been cut off, and its successor writes nothing that a stale read could miss.
func hotWriter(c *client, then func()) {
	w := c.w
	if w.now < w.traps.hold {
		c.w.after(5*ms, then)
		return
	}
	k := w.key(c.somePartition(), "hot", c.someKey())
	to := kv.NodeID(w.rng.IntN(len(w.machines)) + 1)
	if w.now < w.traps.avoidUntil && to == w.traps.avoid {
		to = to%kv.NodeID(len(w.machines)) + 1
	}
	c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, node: to, patience: 150 * ms, once: 140 * ms, forget: true}, func(*check.Op) { then() })
}

// counter adds to counters and reads them.
func counter(c *client, then func()) {
	w := c.w
	k := w.key(c.somePartition(), "sum", c.someKey())
	if w.rng.IntN(3) == 0 {
		c.read([]kv.Key{k}, readOpts{}, func(*check.Op) { then() })
		return
	}
	c.commit(change{writes: []kv.Write{{Kind: kv.WriteAdd, Key: k, Delta: 1 + w.rng.Int64N(3)}}, node: c.somewhere()}, func(*check.Op) { then() })
}

// transaction reads some keys at one timestamp, and writes some of them and some others if nothing
// that it read has changed.
func transaction(c *client, then func()) {
	w := c.w
	p := c.somePartition()
	var keys []kv.Key
	for range 2 + w.rng.IntN(3) {
		k := w.key(p, "txn", c.someKey())
		if !slices.ContainsFunc(keys, func(o kv.Key) bool { return string(o) == string(k) }) {
			keys = append(keys, k)
		}
	}
	if w.rng.IntN(4) == 0 { // blind
		c.commit(change{writes: w.puts(keys)}, func(*check.Op) { then() })
		return
	}
	if len(keys) == 1 {
		keys = append(keys, w.key(p, "txm", c.someKey()))
	}
	c.read(keys, readOpts{node: c.somewhere()}, func(o *check.Op) {
		if o.Result != check.Done || w.rng.IntN(5) == 0 {
			then()
			return
		}
		w.after(w.upTo(w.cfg.Load.Think), func() {
			c.commit(change{writes: w.puts(keys[w.rng.IntN(len(keys)):]), reads: o.Reads, start: o.Timestamp}, func(*check.Op) { then() })
		})
	})
}

func (w *World) puts(keys []kv.Key) []kv.Write {
	ws := make([]kv.Write, len(keys))
	for i, k := range keys {
		ws[i] = kv.Write{Kind: kv.WritePut, Key: k, Value: w.value()}
		if w.rng.IntN(12) == 0 {
			ws[i] = kv.Write{Kind: kv.WriteDelete, Key: k}
		}
	}
	return ws
}

// bank moves money between the accounts of a partition, and now and then counts it all.
func bank(c *client, then func()) {
	w := c.w
	span := w.span(c.somePartition(), "acc")
	c.scan(span, readOpts{}, func(o *check.Op) {
		if o.Result != check.Done || w.rng.IntN(3) == 0 {
			then()
			return
		}
		rows := o.Scanned[0].Rows
		x := change{start: o.Timestamp}
		if len(rows) == 0 { // open the bank: all accounts at once, if there are none still
			for i := range bankTotal / bankOpening {
				x.writes = append(x.writes, kv.Write{Kind: kv.WritePut, Key: append(slices.Clone(span.Start), []byte(fmt.Sprintf("%03d", i))...), Value: []byte(strconv.Itoa(bankOpening))})
			}
			x.spans = o.Scanned
		} else {
			a, b := rows[w.rng.IntN(len(rows))], rows[w.rng.IntN(len(rows))]
			if a.Key == b.Key {
				then()
				return
			}
			x.reads = []check.Seen{a, b}
			x.writes = moved(a, b, 1+w.rng.IntN(9))
		}
		c.commit(x, func(*check.Op) { then() })
	})
}

// moved is money moved from one account to another.
func moved(a, b check.Seen, n int) []kv.Write {
	had, has := atoi(a.Value), atoi(b.Value)
	return []kv.Write{
		{Kind: kv.WritePut, Key: kv.Key(a.Key), Value: []byte(strconv.Itoa(had - n))},
		{Kind: kv.WritePut, Key: kv.Key(b.Key), Value: []byte(strconv.Itoa(has + n))},
	}
}

func atoi(v string) int {
	n, _ := strconv.Atoi(v) // the checkers see what is no number
	return n
}

// scan reads spans of all kinds, also over partitions.
func scan(c *client, then func()) {
	w := c.w
	kinds := []string{"reg", "txn", "sum", "set"}
	span := w.span(c.somePartition(), kinds[w.rng.IntN(len(kinds))])
	if w.rng.IntN(4) == 0 {
		span = kv.Span{Start: w.key(0, "reg", 0), End: w.key(w.cfg.Partitions-1, "txn", 999)}
	}
	c.scan(span, readOpts{}, func(*check.Op) { then() })
}

// set inserts keys that must not be there yet, and scans them.
func set(c *client, then func()) {
	w := c.w
	p := c.somePartition()
	if w.rng.IntN(6) == 0 {
		c.scan(w.span(p, "set"), readOpts{}, func(*check.Op) { then() })
		return
	}
	w.hist.values++
	k := w.key(p, "set", int(w.hist.values))
	c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value(), Expect: kv.Expect{Kind: kv.ExpectAbsent}}}}, func(*check.Op) { then() })
}

// outcomeAsker gives up on a commit after one short wait and asks for the outcome at once, while copies of
// it may be anywhere.
func outcomeAsker(c *client, then func()) {
	w := c.w
	k := w.key(c.somePartition(), "out", c.someKey())
	d := w.between(w.cfg.Network.DelayMin, 20*ms)
	x := change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, node: c.somewhere(), patience: d, once: d}
	if w.rng.IntN(3) == 0 {
		x.writes[0] = kv.Write{Kind: kv.WriteAdd, Key: w.key(0, "oad", c.someKey()), Delta: 1}
	}
	c.commit(x, func(*check.Op) { then() })
}

// late forgets a commit for a long time and asks for its outcome then, or sends it once more.
func late(c *client, then func()) {
	w := c.w
	k := w.key(c.somePartition(), "late", c.someKey())
	d := w.between(w.cfg.Network.DelayMin, 3*ms)
	x := change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, patience: d, once: d, delay: min(w.upTo(70*s), max(0, w.phase.endOf+s-w.now)), resend: w.rng.IntN(2) == 0}
	c.commit(x, func(*check.Op) { then() })
}

// old puts a key, reads it with another one, and deletes it; much later it comes back to the
// timestamp of the read, when what was there may have been collected: to read once more, or to
// write as if nothing had changed since.
func old(c *client, then func()) {
	w := c.w
	w.hist.values++
	k, other := w.key(0, "old", int(w.hist.values)), w.key(0, "ole", c.someKey())
	put := []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}
	c.commit(change{writes: put}, func(*check.Op) {
		c.read([]kv.Key{k, other}, readOpts{}, func(o *check.Op) {
			if o.Result == check.Done {
				w.after(min(w.between(40*s, 110*s), max(0, w.phase.endOf+s-w.now)), func() { c.comeBack(o, other) })
			}
			c.commit(change{writes: []kv.Write{{Kind: kv.WriteDelete, Key: k}}}, func(*check.Op) { then() })
		})
	})
}

// comeBack does something at the timestamp of a read of long ago.
func (c *client) comeBack(o *check.Op, write kv.Key) {
	if c.w.rng.IntN(2) == 0 {
		var keys []kv.Key
		for _, r := range o.Reads {
			keys = append(keys, kv.Key(r.Key))
		}
		c.read(keys, readOpts{at: o.Timestamp, past: true}, func(*check.Op) {})
		return
	}
	c.commit(change{writes: c.w.puts([]kv.Key{write}), reads: o.Reads[:1], start: o.Timestamp}, func(*check.Op) {})
}

// sideband writes, and hands the timestamp to somebody who reads at it, or writes after it.
func sideband(c *client, then func()) {
	w := c.w
	p := c.somePartition()
	k := w.key(p, "sid", c.someKey())
	c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}}, func(o *check.Op) {
		if o.Result != check.Done {
			then()
			return
		}
		other := w.clients[w.rng.IntN(len(w.clients))]
		other.s.Hear(o.Timestamp)
		if w.rng.IntN(2) == 0 {
			other.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: w.key(c.somePartition(), "sid", c.someKey()), Value: w.value()}}}, func(*check.Op) { then() })
			return
		}
		other.read([]kv.Key{k, w.key(p, "sid", c.someKey())}, readOpts{at: o.Timestamp, past: true}, func(*check.Op) { then() })
	})
}
