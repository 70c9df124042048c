package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// The workloads of transactions. Load.Cross of them go over several partitions.

// crossShare is the share of transactions over several partitions in the scenarios of this file. Reads go over several
// partitions whatever it is.
const crossShare = 0.5

// Bounds of what the workloads keep.
const (
	listMax   = 24 // elements of a list, then another key takes its place
	ringNodes = 6  // of a ring, in each partition that it is in
)

// sites are the partitions of one transaction: one, or two, or all.
func (c *client) sites() []int {
	w := c.w
	p, n := c.somePartition(), w.cfg.Partitions
	if n < 2 || !w.chance(w.cfg.Load.Cross) {
		return []int{p}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = (p + i) % n
	}
	if w.rng.IntN(4) == 0 {
		return all
	}
	return []int{p, all[1+w.rng.IntN(n-1)]}
}

// turn is the number of the key of a kind that is in use at a place: others take its place when it is given up.
func (w *World) turn(kind string, p, i int) kv.Key {
	return w.key(p, kind, w.hist.turns[fmt.Sprintf("%s%d/%d", kind, p, i)]*w.cfg.Load.Keys+i)
}

// giveUp lets the next key take the place of one.
func (w *World) giveUp(kind string, p, i int) { w.hist.turns[fmt.Sprintf("%s%d/%d", kind, p, i)]++ }

// list is a list as a value holds it.
func list(s check.Seen) (all []check.Element) {
	for _, e := range strings.FieldsFunc(s.Value, func(r rune) bool { return r == ',' }) {
		n, _ := strconv.ParseUint(e, 10, 64) // 0 is no element: the checker sees it
		all = append(all, check.Element(n))
	}
	return all
}

// lists reads all keys of an attempt as lists, and appends to some.
func (w *World) lists(a *attempt, keys []kv.Key, appends []kv.Key) {
	values := map[string]string{}
	for _, k := range keys {
		s := a.seen(k)
		values[string(k)] = s.Value
		a.micros = append(a.micros, check.Micro{Key: string(k), Read: list(s)})
	}
	for _, k := range appends {
		w.hist.values++
		values[string(k)] += strconv.FormatUint(w.hist.values, 10) + ","
		a.micros = append(a.micros, check.Micro{Key: string(k), Append: check.Element(w.hist.values)})
		i := slices.IndexFunc(a.writes, func(o kv.Write) bool { return string(o.Key) == string(k) })
		if i < 0 {
			i = len(a.writes)
			a.put(k, nil)
		}
		a.writes[i].Value = []byte(values[string(k)])
	}
}

// appendLists reads some lists at one timestamp, and appends to some of them.
func appendLists(c *client, then func()) {
	w := c.w
	sites := c.sites()
	var keys []kv.Key
	type spot struct{ p, i int }
	var spots []spot
	for i := range max(len(sites), 1+w.rng.IntN(4)) {
		at := spot{sites[i%len(sites)], c.someKey()}
		if !slices.Contains(spots, at) {
			spots, keys = append(spots, at), append(keys, w.turn("lst", at.p, at.i))
		}
	}
	reader := w.rng.IntN(3) == 0
	c.transact(plan{keys: keys, decide: func(a *attempt) {
		var appends []kv.Key
		for n := 1 + w.rng.IntN(len(keys)+1); n > 0 && !reader; n-- {
			appends = append(appends, keys[w.rng.IntN(len(keys))])
		}
		for i, at := range spots {
			if len(list(a.seen(keys[i]))) >= listMax && string(keys[i]) == string(w.turn("lst", at.p, at.i)) {
				w.giveUp("lst", at.p, at.i)
			}
		}
		w.lists(a, keys, appends)
	}}, func(*attempt) { then() })
}

// skew reads two lists and appends to one of them.
func skew(c *client, then func()) {
	w := c.w
	sites, i := c.sites(), c.someKey()
	p := sites[0]
	keys := []kv.Key{w.turn("ske", p, i), w.turn("skf", sites[len(sites)-1], i)}
	c.transact(plan{keys: keys, decide: func(a *attempt) {
		if len(list(a.seen(keys[0]))) >= listMax && string(keys[0]) == string(w.turn("ske", p, i)) {
			w.giveUp("ske", p, i)
		}
		if q := sites[len(sites)-1]; len(list(a.seen(keys[1]))) >= listMax && string(keys[1]) == string(w.turn("skf", q, i)) {
			w.giveUp("skf", q, i)
		}
		one := w.rng.IntN(2)
		if w.rng.IntN(2) == 0 { // without what it appends to among the reads that must hold
			a.marks = []check.Seen{a.seen(keys[1-one]), a.seen(keys[one])}
		}
		w.lists(a, keys, keys[one:one+1])
	}}, func(*attempt) { then() })
}

// fork appends to one of two lists, or reads both. The lists are in different partitions; who writes needs only one.
func fork(c *client, then func()) {
	w := c.w
	i := c.someKey()
	p := i % w.cfg.Partitions
	q := (p + 1) % w.cfg.Partitions
	keys := []kv.Key{w.turn("fka", p, i), w.turn("fkb", q, i)}
	if w.rng.IntN(2) == 0 {
		if w.rng.IntN(2) == 0 {
			slices.Reverse(keys)
		}
		c.transact(plan{keys: keys, decide: func(a *attempt) { w.lists(a, keys, nil) }}, func(*attempt) { then() })
		return
	}
	one := w.rng.IntN(2)
	c.transact(plan{keys: keys[one : one+1], decide: func(a *attempt) {
		if kind := []string{"fka", "fkb"}[one]; len(list(a.seen(keys[one]))) >= listMax {
			if at := []int{p, q}[one]; string(keys[one]) == string(w.turn(kind, at, i)) {
				w.giveUp(kind, at, i)
			}
		}
		w.lists(a, keys[one:one+1], keys[one:one+1])
	}}, func(*attempt) { then() })
}

// predicate puts something into one of two spans if both are empty, so that nobody else can.
func predicate(c *client, then func()) {
	w := c.w
	sites, i := c.sites(), c.someKey()
	q := sites[len(sites)-1]
	name := fmt.Sprintf("pre%d/%d", sites[0], q)
	n := w.hist.turns[fmt.Sprintf("%s/%d", name, i)]*w.cfg.Load.Keys + i
	first, second := w.span(sites[0], fmt.Sprintf("pra%02d%05d/", q, n)), w.span(q, fmt.Sprintf("prb%02d%05d/", sites[0], n))
	c.transact(plan{spans: []kv.Span{first, second}, decide: func(a *attempt) {
		if len(a.spans[0].Rows)+len(a.spans[1].Rows) > 0 {
			if n == w.hist.turns[fmt.Sprintf("%s/%d", name, i)]*w.cfg.Load.Keys+i {
				w.hist.turns[fmt.Sprintf("%s/%d", name, i)]++
			}
			return
		}
		into := []kv.Span{first, second}[w.rng.IntN(2)]
		a.put(append(slices.Clone(into.Start), w.value()...), w.value())
	}}, func(*attempt) { then() })
}

// tagged is a number as a value that is unlike all others.
func (w *World) tagged(n int) []byte {
	return append(append(strconv.AppendInt(nil, int64(n), 10), ' '), w.value()...)
}

// numberOf is the number in such a value.
func numberOf(s check.Seen) int {
	n, _, _ := strings.Cut(s.Value, " ")
	return atoi(n)
}

// accounts are the accounts of all banks, one bank in each partition.
func (w *World) accounts() (banks [][]string) {
	for p := range w.cfg.Partitions {
		var bank []string
		for i := range w.cfg.Load.Keys {
			bank = append(bank, string(w.key(p, "bal", i)))
		}
		banks = append(banks, bank)
	}
	return banks
}

func keysOf(names []string) []kv.Key {
	keys := make([]kv.Key, len(names))
	for i, n := range names {
		keys[i] = kv.Key(n)
	}
	return keys
}

// transfers moves what is there from one account to another, and reads all accounts of all banks at one timestamp, that
// is drawn, or one that the client has heard of.
func transfers(c *client, then func()) {
	w := c.w
	end := func(*attempt) { then() }
	if w.rng.IntN(4) == 0 {
		at := kv.Timestamp(0)
		if w.rng.IntN(2) == 0 {
			at = c.s.Heard()
		}
		c.transact(plan{keys: keysOf(slices.Concat(w.accounts()...)), at: at, decide: func(*attempt) {}}, end)
		return
	}
	sites := c.sites()
	from, to := w.key(sites[0], "bal", c.someKey()), w.key(sites[len(sites)-1], "bal", c.someKey())
	if string(from) == string(to) {
		then()
		return
	}
	c.transact(plan{keys: []kv.Key{from, to}, decide: func(a *attempt) {
		x, y := a.seen(from), a.seen(to)
		if x.Found && y.Found {
			n := min(numberOf(x), 1+w.rng.IntN(30))
			a.put(from, w.tagged(numberOf(x)-n))
			a.put(to, w.tagged(numberOf(y)+n))
		}
	}}, func(a *attempt) {
		if a.commit == nil {
			c.open(sites[0], then)
			return
		}
		then()
	})
}

// open opens the bank of a partition if nobody has.
func (c *client) open(p int, then func()) {
	keys := keysOf(c.w.accounts()[p])
	c.transact(plan{keys: keys, decide: func(a *attempt) {
		for _, k := range keys {
			if !a.seen(k).Found {
				a.put(k, c.w.tagged(bankOpening))
			}
		}
	}}, func(*attempt) { then() })
}

// rings are the rings: one in each partition, and one over all.
func (w *World) rings() (rings [][]string) {
	var over []string
	for p := range w.cfg.Partitions {
		var ring []string
		for i := range ringNodes {
			ring, over = append(ring, string(w.key(p, "rin", i))), append(over, string(w.key(p, "rio", i)))
		}
		rings = append(rings, ring)
	}
	return append(rings, over)
}

// cycle takes a node out of a ring and puts it back behind the next one.
func cycle(c *client, then func()) {
	w := c.w
	rings := w.rings()
	ring := rings[c.somePartition()]
	if w.chance(w.cfg.Load.Cross) {
		ring = rings[len(rings)-1]
	}
	keys := keysOf(ring)
	reader := w.rng.IntN(3) == 0
	c.transact(plan{keys: keys, decide: func(a *attempt) {
		switch {
		case reader:
			return
		case !a.seen(keys[0]).Found:
			for i, k := range keys {
				a.put(k, w.tagged((i+1)%len(keys)))
			}
			return
		}
		next := func(i int) int { return min(max(numberOf(a.seen(keys[i])), 0), len(keys)-1) }
		one := w.rng.IntN(len(keys))
		two := next(one)
		three := next(two)
		if one == two || two == three || one == three {
			return // it is no ring: the checker sees it
		}
		a.marks = []check.Seen{a.seen(keys[one]), a.seen(keys[two]), a.seen(keys[three])}
		after := next(three)
		a.put(keys[one], w.tagged(three))
		a.put(keys[three], w.tagged(two))
		a.put(keys[two], w.tagged(after))
	}}, func(*attempt) { then() })
}

// handover writes two keys, and tells somebody else of it, who may have heard of no timestamp of it: what that one does
// then comes after it.
func handover(c *client, then func()) {
	w := c.w
	sites := c.sites()
	q := sites[len(sites)-1]
	keys := []kv.Key{w.key(sites[0], "hoa", c.someKey()), w.key(q, "hob", c.someKey())}
	var writes []kv.Write // and nobody deletes them
	for _, k := range keys {
		writes = append(writes, kv.Write{Kind: kv.WritePut, Key: k, Value: w.value()})
	}
	c.commit(change{writes: w.anchored(writes), age: c.age()}, func(o *check.Op) {
		if o.Result != check.Done {
			then()
			return
		}
		var told []check.Seen
		for _, wr := range writes {
			told = append(told, check.Seen{Key: string(wr.Key), Value: string(wr.Value), Version: o.Timestamp, Found: true})
		}
		w.clients[w.rng.IntN(len(w.clients))].takeOver(keys, told, then)
	})
}

// takeOver does something after somebody has told the client of versions of keys.
func (c *client) takeOver(keys []kv.Key, told []check.Seen, then func()) {
	w := c.w
	end := func(*check.Op) { then() }
	if w.rng.IntN(2) == 0 {
		c.s.Hear(told[0].Version)
	}
	switch w.rng.IntN(5) {
	case 0:
		c.s.Hear(told[0].Version)
		c.readAll(keys, readOpts{at: told[0].Version, past: true, told: told}, end)
	case 1:
		c.read(keys[w.rng.IntN(2):][:1], readOpts{node: c.somewhere(), told: told}, end)
	case 2:
		k := w.key(c.somePartition(), "hoc", c.someKey())
		c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, told: told}, end)
	default:
		c.readAll([]kv.Key{keys[1], keys[0]}, readOpts{node: c.somewhere(), told: told}, end)
	}
}

// pairs are the twins: two counters each, in one partition, or in two.
func (w *World) pairs() (pairs [][2]string) {
	for p := range w.cfg.Partitions {
		for i := range w.cfg.Load.Keys {
			pairs = append(pairs, [2]string{string(w.key(p, "twa", i)), string(w.key(p, "twb", i))},
				[2]string{string(w.key(p, "twc", i)), string(w.key((p+1)%w.cfg.Partitions, "twd", i))})
		}
	}
	return pairs
}

// twins adds the same to two counters, and gives up on the answer soon: what it does not hear it asks for.
func twins(c *client, then func()) {
	w := c.w
	pairs := w.pairs()
	pair := pairs[2*w.rng.IntN(len(pairs)/2)]
	if w.chance(w.cfg.Load.Cross) {
		pair = pairs[1+2*w.rng.IntN(len(pairs)/2)]
	}
	keys := keysOf(pair[:])
	if w.rng.IntN(2) == 0 {
		slices.Reverse(keys)
	}
	if w.rng.IntN(3) == 0 {
		c.readAll(keys, readOpts{node: c.somewhere()}, func(*check.Op) { then() })
		return
	}
	d := w.between(w.cfg.Network.DelayMin, 30*ms)
	n := 1 + w.rng.Int64N(3)
	x := change{age: c.age(), node: c.somewhere(), resend: w.rng.IntN(3) == 0, writes: []kv.Write{
		{Kind: kv.WriteAdd, Key: keys[0], Delta: n}, {Kind: kv.WriteAdd, Key: keys[1], Delta: n},
	}}
	if w.rng.IntN(2) == 0 {
		x.patience, x.once = d, d
	}
	c.commit(x, func(*check.Op) { then() })
}

// judgeTransactions runs the checks of these workloads.
func (w *World) judgeTransactions() []check.Finding {
	h := &w.hist.ops
	findings := check.Lists(w.hist.lists)
	w.hist.counts["list transactions"] = len(w.hist.lists)
	findings = append(findings, check.Bank(h, w.accounts(), int64(bankOpening*w.cfg.Load.Keys))...)
	for _, r := range w.rings() {
		findings = append(findings, check.Ring(h, r)...)
	}
	findings = append(findings, check.Twins(h, w.pairs())...)
	findings = append(findings, check.Predicates(h)...)
	return append(findings, check.Sideband(h)...)
}

// crossing is transactions of one kind over several partitions, with leaders that change and answers that are lost.
func crossing(name, about string, mix ...Share) *Scenario {
	c := transactions()
	c.Name, c.About = name, about
	c.Partitions, c.Duration = 3, 30*time.Second
	c.Load.Mix, c.Load.Cross, c.Load.Keys = mix, crossShare, 5
	c.Process.CrashAll, c.Links.Cut = 20*time.Second, 4*time.Second
	return c
}

// crossings are the scenarios of transactions over several partitions.
func crossings() []*Scenario {
	all := crossing("crossing", "transactions of all kinds, everything at random, all at once",
		Share{"append", 4}, Share{"transfer", 3}, Share{"skew", 2}, Share{"predicate", 2}, Share{"fork", 2}, Share{"cycle", 2}, Share{"handover", 2}, Share{"twins", 3}, Share{"register", 1}, Share{"scan", 1})
	all.LoopsMax = 3
	all.Process.Stall, all.Process.WallJump, all.Process.LoopStall = 8*time.Second, 5*time.Second, 6*time.Second
	all.Links.Cut, all.Links.Slow = 1500*time.Millisecond, 5*time.Second
	cycles := crossing("cycles", "rings of keys of which one is put elsewhere at a time", Share{"cycle", 1})
	cycles.Load.Clients = 10 // each reads a whole ring: with more, the search for an order of one key takes long
	return []*Scenario{
		all,
		crossing("lists", "transactions that read and append to lists", Share{"append", 1}),
		crossing("transfers", "money that is moved between the accounts of all partitions, and counted at one timestamp", Share{"transfer", 1}),
		crossing("skews", "transactions that read the same and write different things, keys or spans", Share{"skew", 1}, Share{"predicate", 1}),
		crossing("forks", "writers of single keys, and readers that must see them in one order", Share{"fork", 1}),
		cycles,
		crossing("handovers", "clients that tell others what they have written", Share{"handover", 1}),
		crossing("outcomes", "commits whose answer is lost now and then", Share{"twins", 1}),
	}
}
