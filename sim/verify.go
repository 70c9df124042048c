package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/sim/check"
)

// gaps watches how long partitions take no writes. A client that probes knows nothing of faults.
type gaps struct {
	since map[kv.PartitionID]ns // of the newest acknowledged write
	worst map[kv.PartitionID]ns
	place func(key string) kv.PartitionID
}

func (g *gaps) acknowledged(w *World, key string) {
	if g.place == nil {
		return
	}
	p := g.place(key)
	if last, ok := g.since[p]; ok {
		g.worst[p] = max(g.worst[p], w.now-last)
	}
	g.since[p] = w.now
}

// reset begins to watch anew.
func (g *gaps) reset() { g.since, g.worst = map[kv.PartitionID]ns{}, map[kv.PartitionID]ns{} }

// judgeGaps fails if a partition took no writes for longer than the scenario allows.
func (w *World) judgeGaps() {
	limit := ns(w.cfg.Limits.Gap)
	if limit == 0 || w.phase.broken != nil {
		return
	}
	for _, id := range w.traps.partitions {
		gap := w.gaps.worst[id]
		if last, ok := w.gaps.since[id]; ok {
			gap = max(gap, w.now-last)
		}
		w.hist.counts[fmt.Sprintf("gap p%d ms", id)] = int(gap / ms)
		if gap > limit {
			w.violate("write gap", "", "partition %d took no writes for %d ms, the limit is %d", id, gap/ms, limit/ms)
		}
	}
}

// heal waits until every partition takes writes again, and fails if that takes too long.
func (w *World) heal() {
	within := ns(w.cfg.Limits.Heal)
	end := w.now + within
	left := w.probes(end)
	for w.phase.broken == nil && *left > 0 && w.step(end) {
	}
	if *left > 0 {
		w.violate("healing", "", "%d partitions take no writes %s after the end of all faults", *left, time.Duration(within))
	}
}

// probes writes to every partition until each has acknowledged one.
func (w *World) probes(end ns) *int {
	left := new(int)
	var keys []kv.Key
	for i := range w.cfg.Partitions {
		keys = append(keys, w.key(i, "reg", 999))
	}
	for b := range w.cfg.HashPartitions {
		keys = append(keys, w.hashKey(b))
	}
	c := newClient(w, 1000, w.rng.Uint64())
	for _, k := range keys {
		*left++
		var try func()
		try = func() {
			c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, patience: max(end-w.now, ms)}, func(o *check.Op) {
				if o.Result == check.Done {
					*left--
				} else if w.now < end {
					try()
				}
			})
		}
		try()
	}
	return left
}

// hashKey is some key of a bucket.
func (w *World) hashKey(bucket int) kv.Key {
	for i := 0; ; i++ {
		u := []byte(fmt.Sprintf("probe%d", i))
		if int(kv.Bucket(u, w.cfg.HashPartitions)) == bucket {
			return w.spaces.hash.FullKey(u)
		}
	}
}

// settle lets the clients finish what they have begun.
func (w *World) settle() {
	w.phase.stopped = true
	end := w.now + opPatienceMax + 5*s
	for w.phase.broken == nil && w.busy() && w.step(end) {
	}
	if w.busy() {
		w.violate("operations end", "", "a client's operation has no end %d s after the end of all faults", (w.now-w.phase.endOf)/s)
	}
}

func (w *World) busy() bool {
	for _, c := range w.clients {
		if c.busy {
			return true
		}
	}
	return false
}

// quiesceMax is how long replicas may take to be equal once nobody writes.
const quiesceMax = 10 * s

// drainMax is longer than any request may wait for anything in a node.
const drainMax = 30 * s

// drained waits until every request that a node has admitted is answered or was canceled, and
// fails if one is forgotten: it would hold memory for ever.
func (w *World) drained() {
	end := w.now + drainMax
	open := func() (n int, who *process) {
		for _, m := range w.machines {
			if p := m.alive(); p != nil && len(p.doors.open) > 0 {
				n, who = n+len(p.doors.open), p
			}
		}
		return n, who
	}
	for w.phase.broken == nil {
		n, who := open()
		if n == 0 {
			break
		}
		if w.now >= end {
			w.violate("requests are answered", "", "%d requests have no answer %d s after the last one was sent, some of them at node %d", n, drainMax/s, who.m.id)
			return
		}
		w.run(min(end, w.now+100*ms))
	}
}

// resolved waits until nothing is left of any transaction over several partitions, and fails if something stays.
func (w *World) resolved() {
	end := w.now + drainMax
	for w.phase.broken == nil {
		id, what := w.unresolved()
		if id == 0 {
			return
		}
		if w.now >= end {
			w.violate("transactions end", "", "partition %d has %s, %d s after the last request was sent", id, what, drainMax/s)
			return
		}
		w.run(min(end, w.now+100*ms))
	}
}

// unresolved is a partition that has a lock or a record, or no leader to tell; 0: there is none.
func (w *World) unresolved() (kv.PartitionID, string) {
	for _, id := range w.traps.partitions {
		p, _ := w.leader(id)
		if p == nil {
			return id, "no leader"
		}
		if waiting, applies := p.at(id).node.Unfinished(id); waiting+applies > 0 {
			return id, fmt.Sprintf("%d commands and transactions under way, and %d applies", waiting, applies)
		}
		r, err := p.applier.engine.NewReader()
		if err != nil {
			continue // damage is for others to find
		}
		what := ""
		if st, ok, err := r.ReplicaState(id); ok && err == nil {
			err = r.Locks(st.Descriptor.Span, func(l *mvcc.Lock) error {
				what = fmt.Sprintf("a lock of %s", l.ID)
				return errStop
			})
			if err == nil {
				_ = r.Records(st.Descriptor.Span, func(x *mvcc.Record) error { // errStop, or damage
					what = fmt.Sprintf("the record of %s", x.ID)
					return errStop
				})
			}
		}
		r.Close()
		if what != "" {
			return id, what
		}
	}
	return 0, ""
}

// idle lets the nodes tidy up, and looks at what they keep then.
func (w *World) idle() {
	if w.phase.broken != nil {
		return
	}
	w.run(w.now + idleTime)
	w.drain()
	for _, m := range w.machines {
		if p := m.alive(); p != nil && w.phase.broken == nil {
			p.withinLimits()
		}
	}
}

// idleTime is longer than a node waits before it looks at what its log holds.
const idleTime = 5 * s

// logBytesMax is what a log may hold in a run that keeps little of it on purpose.
const logBytesMax = 4 << 20

func (p *process) withinLimits() {
	st := p.log.log.Stats()
	p.w.hist.counts["log segments"] = max(p.w.hist.counts["log segments"], int(st.Segment))
	p.w.hist.counts["log segments released"] = max(p.w.hist.counts["log segments released"], int(st.OldestSegment)-1)
	if b := st.FileBytes; b > logBytesMax {
		p.w.violate("the log is released", "", "the log of node %d holds %d bytes, more than %d", p.m.id, b, logBytesMax)
	}
}

// repairMax is how long damaged replicas may take to be replaced, once nothing else goes wrong.
const repairMax = 60 * s

// repaired waits until the core knows of nothing that is wrong with any partition. It has
// something to repair only where disks were damaged.
func (w *World) repaired() {
	if len(w.traps.flipped) == 0 || w.phase.broken != nil {
		return
	}
	end := w.now + repairMax
	last := "nobody answers"
	healthy := false
	var look func()
	look = func() {
		w.admin(&kv.AdminRequest{Status: &kv.StatusQuery{}}, func(a answer) bool { return a.err == nil }, func(a answer) {
			s := a.admin.Status
			last = fmt.Sprintf("%+v %q", s.Partitions, s.Unhealthy)
			healthy = s.Partitions.UnderReplicated+s.Partitions.Unavailable+s.Partitions.Unknown == 0
			if !healthy {
				w.after(500*ms, look)
			}
		})
	}
	look()
	for w.phase.broken == nil && !healthy && w.step(end) {
	}
	if !healthy && !w.lostMachine() {
		w.violate("repair", "", "%d s after the end of all faults: %s", repairMax/s, last)
	}
}

// lostMachine reports whether a machine is out for good.
func (w *World) lostMachine() bool {
	return slices.ContainsFunc(w.machines, func(m *machine) bool { return m.dead })
}

// replicasEqual asks every partition's leader for a comparison, and fails if it is not equal.
func (w *World) replicasEqual() {
	c := &comparison{w: w, equal: map[kv.PartitionID]bool{}}
	for _, id := range w.traps.partitions {
		c.ask(id)
	}
	end := w.now + quiesceMax
	if w.lostMachine() || w.hist.counts["rot"] > 0 { // its replicas do not answer: the comparison waits for them, and goes on without
		end += 70 * s
	}
	for w.phase.broken == nil && len(c.equal) < len(w.traps.partitions) && w.step(end) {
	}
	for _, id := range w.traps.partitions {
		if !c.equal[id] {
			w.violate("replicas equal", "", "partition %d cannot compare its replicas within %d s", id, quiesceMax/s)
		}
	}
}

// comparison is the comparison of all replicas of all partitions.
type comparison struct {
	w     *World
	equal map[kv.PartitionID]bool
}

// askAgain is when a comparison that ended without all replicas is asked for once more.
const askAgain = 500 * ms

// ask repeats until all replicas have answered; one that differs is a violation.
func (c *comparison) ask(id kv.PartitionID) {
	w := c.w
	again := func() { w.after(askAgain, func() { c.ask(id) }) }
	p, _ := w.leader(id)
	if p == nil {
		again()
		return
	}
	p.admin(&kv.AdminRequest{Check: &kv.CheckQuery{Partition: id}}, func(a answer) {
		if a.err != nil || a.admin == nil || a.admin.Check == nil {
			again()
			return
		}
		if !w.sumsEqual(id, a.admin.Check) {
			again()
			return
		}
		c.equal[id] = true
	})
}

// awaitLeaders lets time pass while a partition changes its leader, which the core may ask for at any
// moment.
func (w *World) awaitLeaders() {
	led := func() bool {
		for _, id := range w.traps.partitions {
			if p, _ := w.leader(id); p == nil {
				return false
			}
		}
		return true
	}
	for end := w.now + quiesceMax; w.phase.broken == nil && !led() && w.step(end); {
	}
}

// ledger reads all versions of all keys that anybody has touched, or that are there, from the
// engine of each partition's leader.
func (w *World) ledger() *check.Ledger {
	w.awaitLeaders()
	l := check.NewLedger()
	touched, _ := check.Accesses(&w.hist.ops)
	for _, id := range w.traps.partitions {
		p, _ := w.leader(id)
		if p == nil {
			w.violate("replicas equal", "", "partition %d has no leader at the end", id)
			return l
		}
		if err := p.read(id, touched, l); err != nil {
			w.violate("no fatal errors", "", "reading the engine of node %d: %v", p.m.id, err)
		}
	}
	l.Name()
	return l
}

// read adds all versions of a partition to the ledger.
func (p *process) read(id kv.PartitionID, touched []string, l *check.Ledger) error {
	r, err := p.applier.engine.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	st, ok, err := r.ReplicaState(id)
	if err != nil || !ok {
		return err
	}
	l.Complete = max(l.Complete, st.GC)
	span := st.Descriptor.Span
	keys := map[string]bool{}
	for _, k := range touched {
		keys[k] = span.Contains(kv.Key(k))
	}
	for left := span; !left.IsEmpty() && left.Start != nil; {
		rows, resume, _, err := r.Scan(mvcc.ScanArgs{Span: left, Timestamp: mvcc.MaxTimestamp})
		if err != nil {
			return err
		}
		for _, row := range rows {
			keys[string(row.Key)] = true
		}
		left.Start = resume
	}
	for k, here := range keys { // each key by itself: no order is seen
		if !here {
			continue
		}
		if err := versions(r, kv.Key(k), l); err != nil {
			return err
		}
	}
	return nil
}

// versions adds all versions of a key to the ledger, newest first.
func versions(r *mvcc.Reader, k kv.Key, l *check.Ledger) error {
	for at := mvcc.MaxTimestamp; at > 0; {
		v, ok, err := r.Get(k, at)
		if err != nil || !ok {
			return err
		}
		l.Put(string(k), check.Version{At: v.Timestamp, ID: v.ID, Value: string(v.Value), Deleted: v.Tombstone})
		at = v.Timestamp - 1
	}
	return nil
}

// judge runs all checks over the history, and the search last: it takes very long where something is wrong, which
// the others have found then.
func (w *World) judge() {
	l := w.ledger()
	if w.phase.broken != nil {
		return
	}
	h := &w.hist.ops
	findings := check.Serial(h, l)
	findings = append(findings, check.Collected(h, l.Complete)...)
	findings = append(findings, check.Zones(h)...)
	findings = append(findings, check.Counters(h)...)
	findings = append(findings, check.Sets(h)...)
	var banks []kv.Span
	for i := range w.cfg.Partitions {
		banks = append(banks, w.span(i, "acc"))
	}
	findings = append(findings, check.Totals(h, banks, bankTotal)...)
	findings = append(findings, w.judgeTransactions()...)
	if len(findings) == 0 {
		linear, skipped := check.Linear(h)
		findings = append(findings, linear...)
		w.hist.counts["keys not searched"] += skipped
	}
	if len(findings) > 0 {
		f := findings[0]
		w.violate(f.Check, f.Key, "%s", f.Story())
	}
}
