package check

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// level is a kind of system: how it runs transactions over lists. Each function may be nil.
type level struct {
	clean  bool // a transaction reads each key once, before it appends to it
	begin  func(x *execution, r *running)
	step   func(x *execution, r *running, i int) // of each micro-operation
	commit func(x *execution, r *running) bool
}

// execution runs transactions of several clients, interleaved.
type execution struct {
	rng   *rand.Rand
	now   Time
	next  Element
	keys  int // at a time
	epoch int // transactions until other keys are taken
	txs   []*Transaction
	level level
	state []map[string][]Element // of each site; only appended to
	late  [][]*running           // commits on their way to each site
	old   []map[string]int       // lengths of the lists at site 0, after each commit
}

// running is a transaction under way.
type running struct {
	t    *Transaction
	at   int            // of the next micro-operation
	site int            // where it runs
	seen map[string]int // lengths of the lists when it began
}

// execute runs so many transactions over few keys at a time, and reads every key in the end.
func execute(seed uint64, transactions int, l level) []*Transaction {
	return executeOver(seed, transactions, l, 8, 3, 100)
}

// executeOver runs transactions of so many clients over so many keys at a time, others after each so many transactions.
func executeOver(seed uint64, transactions int, l level, clients, keys, epoch int) []*Transaction {
	x := &execution{rng: rand.New(rand.NewPCG(seed, 3)), level: l, keys: keys, epoch: epoch, old: []map[string]int{{}}, late: make([][]*running, 2)}
	x.state = []map[string][]Element{{}, {}}
	under := make([]*running, clients)
	for len(x.txs) < transactions || slices.ContainsFunc(under, func(r *running) bool { return r != nil }) {
		x.turn(under, len(x.txs) < transactions)
	}
	for len(x.late[0])+len(x.late[1]) > 0 {
		x.deliver()
	}
	x.now += 10
	last := &Transaction{Name: "last", Result: Done, Call: x.now, Return: x.now + 1}
	for k, list := range x.state[0] {
		last.Micros = append(last.Micros, Micro{Key: k, Read: list})
	}
	slices.SortFunc(last.Micros, func(a, b Micro) int { return cmp.Compare(a.Key, b.Key) })
	x.txs = append(x.txs, last)
	return x.txs
}

// turn lets one client do one thing.
func (x *execution) turn(clients []*running, more bool) {
	x.now += 1 + x.rng.Int64N(3)
	if x.rng.IntN(4) == 0 {
		x.deliver()
	}
	c := x.rng.IntN(len(clients))
	r := clients[c]
	switch {
	case r == nil && more:
		clients[c] = x.start()
	case r == nil:
	case r.at < len(r.t.Micros):
		if x.level.step != nil {
			x.level.step(x, r, r.at)
		}
		r.at++
	default:
		x.end(r)
		clients[c] = nil
	}
}

// start draws a transaction. Keys are given up after a while, so that lists stay short.
func (x *execution) start() *running {
	t := &Transaction{Name: fmt.Sprintf("T%d", len(x.txs)), Call: x.now, Return: Never}
	x.txs = append(x.txs, t)
	epoch := len(x.txs) / x.epoch
	read, appended := map[string]bool{}, map[string]bool{}
	for range 1 + x.rng.IntN(4) {
		k := fmt.Sprintf("k%d", epoch*x.keys+x.rng.IntN(x.keys))
		if x.rng.IntN(2) == 0 {
			if !x.level.clean || !appended[k] && !read[k] {
				t.Micros = append(t.Micros, Micro{Key: k})
			}
			read[k] = true
			continue
		}
		x.next++
		appended[k] = true
		t.Micros = append(t.Micros, Micro{Key: k, Append: x.next})
	}
	r := &running{t: t, site: x.rng.IntN(2), seen: map[string]int{}}
	if x.level.begin != nil {
		x.level.begin(x, r)
	}
	return r
}

// end commits a transaction. Now and then its client is not told, or it has never reached the system.
func (x *execution) end(r *running) {
	lost := x.rng.IntN(30)
	if lost == 0 {
		r.t.Result = Unknown
		return
	}
	switch {
	case !x.level.commit(x, r):
		r.t.Result, r.t.Return = Refused, x.now
	case lost == 1:
		r.t.Result = Unknown
	default:
		r.t.Result, r.t.Return = Done, x.now
	}
}

// view fills in the reads of a transaction.
func (x *execution) view(t *Transaction, list func(key string) []Element) {
	for i := range t.Micros {
		if m := &t.Micros[i]; m.Append == 0 {
			m.Read = slices.Clone(list(m.Key))
			for _, o := range t.Micros[:i] {
				if o.Append != 0 && o.Key == m.Key {
					m.Read = append(m.Read, o.Append)
				}
			}
		}
	}
}

// apply appends what a transaction appends to the lists of a site.
func (x *execution) apply(r *running, site int) {
	for _, m := range r.t.Micros {
		if m.Append != 0 {
			x.state[site][m.Key] = append(x.state[site][m.Key], m.Append)
		}
	}
	if site == 0 {
		lengths := map[string]int{}
		for _, m := range r.t.Micros {
			lengths[m.Key] = len(x.state[0][m.Key])
		}
		x.old = append(x.old, lengths)
	}
}

// deliver brings the oldest commit to a site that has not heard of it.
func (x *execution) deliver() {
	site := x.rng.IntN(2)
	if late := x.late[site]; len(late) > 0 {
		x.apply(late[0], site)
		x.late[site] = late[1:]
	}
}

// snapshot lets a transaction see what its site holds now.
func (x *execution) snapshot(r *running, site int) {
	x.view(r.t, func(k string) []Element {
		r.seen[k] = len(x.state[site][k])
		return x.state[site][k]
	})
	for _, m := range r.t.Micros {
		r.seen[m.Key] = len(x.state[site][m.Key])
	}
}

// first reports whether nobody has appended to what a transaction appends to since it began.
func (x *execution) first(r *running, site int) bool {
	return !slices.ContainsFunc(r.t.Micros, func(m Micro) bool { return m.Append != 0 && len(x.state[site][m.Key]) != r.seen[m.Key] })
}

// reader reports whether a transaction appends nothing.
func (t *Transaction) reader() bool {
	return !slices.ContainsFunc(t.Micros, func(m Micro) bool { return m.Append != 0 })
}

var levels = map[string]level{
	"serial": {commit: func(x *execution, r *running) bool {
		if x.rng.IntN(10) == 0 {
			return false
		}
		x.view(r.t, func(k string) []Element { return x.state[0][k] })
		x.apply(r, 0)
		return true
	}},
	"snapshot isolation": {
		begin: func(x *execution, r *running) { x.snapshot(r, 0) },
		commit: func(x *execution, r *running) bool {
			if !x.first(r, 0) {
				return false
			}
			x.apply(r, 0)
			return true
		},
	},
	// Two sites, each with a snapshot isolation of its own; what one has committed reaches the other later.
	"parallel snapshot": {
		begin: func(x *execution, r *running) { x.snapshot(r, r.site) },
		commit: func(x *execution, r *running) bool {
			other := 1 - r.site
			for _, late := range [][]*running{x.late[0], x.late[1]} {
				for _, o := range late { // not yet everywhere: the key is taken
					for _, m := range o.t.Micros {
						if m.Append != 0 && slices.ContainsFunc(r.t.Micros, func(n Micro) bool { return n.Append != 0 && n.Key == m.Key }) {
							return false
						}
					}
				}
			}
			if !x.first(r, r.site) {
				return false
			}
			x.apply(r, r.site)
			x.late[other] = append(x.late[other], r)
			return true
		},
	},
	"read committed": {
		clean: true,
		step: func(x *execution, r *running, i int) {
			if m := &r.t.Micros[i]; m.Append == 0 {
				m.Read = slices.Clone(x.state[0][m.Key])
			}
		},
		commit: func(x *execution, r *running) bool {
			x.apply(r, 0)
			return true
		},
	},
	// Serializable: who only reads may read an older state.
	"stale reads": {commit: func(x *execution, r *running) bool {
		if r.t.reader() {
			back := len(x.old) - min(len(x.old), x.rng.IntN(10))
			x.view(r.t, func(k string) []Element {
				for i := min(back, len(x.old)-1); i >= 0; i-- {
					if n, ok := x.old[i][k]; ok {
						return x.state[0][k][:n]
					}
				}
				return nil
			})
			return true
		}
		x.view(r.t, func(k string) []Element { return x.state[0][k] })
		x.apply(r, 0)
		return true
	}},
	// Everybody sees everything at once, also what is refused later.
	"dirty reads": {
		clean: true,
		step: func(x *execution, r *running, i int) {
			if m := &r.t.Micros[i]; m.Append == 0 {
				m.Read = slices.Clone(x.state[0][m.Key])
			} else {
				x.state[0][m.Key] = append(x.state[0][m.Key], m.Append)
			}
		},
		commit: func(x *execution, _ *running) bool { return x.rng.IntN(6) > 0 },
	},
}
