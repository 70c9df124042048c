package check

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// story makes histories that a correct system could have made: operations take effect one at
// a time in the order of timestamps, at some moment between call and return.
type story struct {
	rng  *rand.Rand
	now  Time
	ts   kv.Timestamp
	h    *History
	l    *Ledger
	seq  uint64
	done []*Op // commits that happened
}

func newStory(seed uint64) *story {
	return &story{rng: rand.New(rand.NewPCG(seed, 1)), h: &History{}, l: NewLedger(), ts: 100}
}

func (s *story) id() kv.TxID {
	s.seq++
	var id kv.TxID
	binary.BigEndian.PutUint64(id[:], s.seq)
	return id
}

// op gives an operation its time around now; they overlap.
func (s *story) op(k Kind) *Op {
	s.now += 1 + s.rng.Int64N(10)
	o := &Op{Client: s.rng.IntN(5), Kind: k, Result: Done, Call: s.now - s.rng.Int64N(30), Return: s.now + s.rng.Int64N(30)}
	s.h.Ops = append(s.h.Ops, o)
	return o
}

func (s *story) see(k string, at kv.Timestamp) Seen {
	v, _ := s.l.at(k, at)
	if v.Deleted {
		return Seen{Key: k}
	}
	return Seen{Key: k, Value: v.Value, Version: v.At, Found: true}
}

func (s *story) read(k string) *Op {
	o := s.op(Read)
	if s.rng.IntN(2) == 0 {
		o.Strong = true
		o.Reads = []Seen{s.see(k, s.ts)}
		return o
	}
	s.ts++
	o.Timestamp = s.ts
	o.Reads = []Seen{s.see(k, s.ts)}
	return o
}

func (s *story) scan(prefix string) *Op {
	o := s.op(Scan)
	s.ts++
	o.Timestamp = s.ts
	span := kv.Span{Start: kv.Key(prefix), End: kv.PrefixEnd([]byte(prefix))}
	o.Scanned = []Scanned{{Span: span, Rows: s.l.rows(s.l.Keys(), span, s.ts)}}
	return o
}

func (s *story) commit(reads []string, ws ...kv.Write) *Op {
	o := s.op(Commit)
	o.ID = s.id()
	o.Change = &Change{Writes: ws, Start: s.ts}
	for _, k := range reads {
		o.Reads = append(o.Reads, s.see(k, s.ts))
	}
	s.ts += 2
	o.Timestamp = s.ts
	for _, w := range ws {
		value, deleted, _ := after(w, s.l.before(string(w.Key), s.ts))
		s.l.Put(string(w.Key), Version{At: s.ts, ID: o.ID, Value: value, Deleted: deleted})
		if w.Kind == kv.WriteAdd {
			n, _ := strconv.ParseInt(value, 10, 64)
			o.Change.Sums = append(o.Change.Sums, n)
		}
	}
	s.done = append(s.done, o)
	return o
}

func put(k, v string) kv.Write { return kv.Write{Kind: kv.WritePut, Key: kv.Key(k), Value: []byte(v)} }

func insert(k, v string) kv.Write {
	w := put(k, v)
	w.Expect.Kind = kv.ExpectAbsent
	return w
}

// step is one random operation.
func (s *story) step() {
	key := func(p string) string { return fmt.Sprintf("%s%d", p, s.rng.IntN(3)) }
	value := fmt.Sprintf("v%d", s.seq+1)
	switch s.rng.IntN(9) {
	case 0, 1:
		s.read(key("reg"))
	case 2:
		s.commit(nil, put(key("reg"), value))
	case 3:
		s.commit(nil, kv.Write{Kind: kv.WriteAdd, Key: kv.Key(key("sum")), Delta: 1 + s.rng.Int64N(3)})
	case 4:
		s.read(key("sum"))
	case 5:
		s.commit([]string{"cas0"}, put("cas0", value), put("cas1", value))
	case 6:
		s.commit(nil, kv.Write{Kind: kv.WriteDelete, Key: kv.Key(key("cas"))})
	case 7:
		s.commit(nil, insert(fmt.Sprintf("set%d", s.seq), value))
	case 8:
		s.scan([]string{"cas", "set", "sum"}[s.rng.IntN(3)])
	}
	if n := len(s.done); n > 0 && s.rng.IntN(20) == 0 { // an answer is lost
		s.done[n-1].Result, s.done[n-1].Return, s.done[n-1].Timestamp, s.done[n-1].Change.Sums = Unknown, Never, 0, nil
	}
}

func judgeAll(s *story) []Finding {
	slices.SortStableFunc(s.h.Ops, func(a, b *Op) int { return int(a.Call - b.Call) })
	fs := Serial(s.h, s.l)
	fs = append(fs, Zones(s.h)...)
	l, _ := Linear(s.h)
	fs = append(fs, l...)
	fs = append(fs, Counters(s.h)...)
	return append(fs, Sets(s.h)...)
}

func TestRightHistoriesPass(t *testing.T) {
	for seed := range uint64(60) {
		s := newStory(seed)
		for range 150 {
			s.step()
		}
		if fs := judgeAll(s); len(fs) > 0 {
			t.Fatalf("seed %d: %v", seed, fs[0])
		}
	}
}

// wrong is one way to break a right history, and the checks that must see it.
type wrong struct {
	name   string
	spoil  func(s *story)
	checks []string
}

var wrongs = []wrong{
	{"stale strong read", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.now += 100
		s.commit(nil, put("x", "2"))
		s.now += 100
		o := s.read("x")
		o.Strong, o.Timestamp, o.Reads = true, 0, []Seen{s.see("x", s.done[len(s.done)-2].Timestamp)}
	}, []string{"real time", "registers", "linearizable"}},
	{"absent after a write", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.now += 100
		o := s.read("x")
		o.Strong, o.Timestamp, o.Reads = true, 0, []Seen{{Key: "x"}}
	}, []string{"real time", "registers", "linearizable"}},
	{"stale snapshot", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.now += 100
		o := s.read("x")
		o.Strong, o.Timestamp, o.Reads = false, 99, []Seen{{Key: "x"}}
	}, []string{"real time"}},
	{"wrong snapshot", func(s *story) {
		s.commit(nil, put("x", "1"))
		o := s.read("x")
		o.Strong, o.Timestamp, o.Reads = false, s.ts, []Seen{{Key: "x"}}
	}, []string{"snapshot reads"}},
	{"read from nowhere", func(s *story) {
		s.commit(nil, put("x", "1"))
		o := s.read("x")
		o.Strong, o.Timestamp, o.Reads = true, 0, []Seen{{Key: "x", Value: "9", Version: s.ts, Found: true}}
	}, []string{"strong reads", "registers", "linearizable"}},
	{"lost write", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.l.keys["x"] = nil
	}, []string{"acknowledged writes survive"}},
	{"applied twice", func(s *story) {
		o := s.commit(nil, kv.Write{Kind: kv.WriteAdd, Key: kv.Key("x"), Delta: 1})
		s.ts++
		s.l.Put("x", Version{At: s.ts, ID: o.ID, Value: "2"})
	}, []string{"exactly once"}},
	{"refused and applied", func(s *story) { s.commit(nil, put("x", "1")).Result = Refused }, []string{"refused is final"}},
	{"unknown id", func(s *story) { s.l.Put("x", Version{At: s.ts, Value: "1"}) }, []string{"no ghosts"}},
	{"half a transaction", func(s *story) {
		s.commit(nil, put("x", "1"), put("y", "1"))
		s.l.keys["y"] = nil
	}, []string{"all or nothing"}},
	{"two commits at one timestamp", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.ts -= 2
		s.commit(nil, put("y", "1"))
	}, []string{"timestamps unique"}},
	{"another timestamp told", func(s *story) { s.commit(nil, put("x", "1")).Timestamp-- }, []string{"told is applied"}},
	{"timestamps against real time", func(s *story) {
		s.ts += 20
		s.commit(nil, put("x", "1"))
		s.now += 100
		s.ts -= 10
		s.commit(nil, put("y", "1"))
	}, []string{"real time"}},
	{"lost update", func(s *story) {
		s.commit([]string{"x"}, put("x", "1"))
		o := s.commit([]string{"x"}, put("x", "2"))
		o.Reads = []Seen{{Key: "x"}}
	}, []string{"reads validated", "linearizable"}},
	{"phantom", func(s *story) {
		o := s.scan("p")
		s.commit(nil, put("p1", "1"))
		s.commit(nil, put("q", "1")).Scanned = o.Scanned
	}, []string{"spans validated"}},
	{"row missing from a scan", func(s *story) {
		s.commit(nil, insert("p1", "1"))
		s.now += 100
		s.scan("p").Scanned[0].Rows = nil
	}, []string{"snapshot scans", "sets"}},
	{"expectation not met", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.now += 100
		s.commit(nil, insert("x", "2"))
	}, []string{"expectations hold", "linearizable"}},
	{"wrong sum", func(s *story) {
		s.commit(nil, kv.Write{Kind: kv.WriteAdd, Key: kv.Key("x"), Delta: 1}).Change.Sums[0] = 2
	}, []string{"sums", "linearizable", "counters"}},
	{"one sum told twice", func(s *story) {
		for range 2 {
			s.commit(nil, kv.Write{Kind: kv.WriteAdd, Key: kv.Key("x"), Delta: 1}).Change.Sums[0] = 1
		}
	}, []string{"counters", "linearizable", "sums"}},
	{"value altered", func(s *story) {
		s.commit(nil, put("x", "1"))
		s.l.keys["x"][0].Value = "0"
	}, []string{"writes replay"}},
}

func TestWrongHistoriesAreFound(t *testing.T) {
	for _, w := range wrongs {
		for seed := range uint64(5) {
			s := newStory(seed)
			for range 40 {
				s.step()
			}
			s.now += 1000
			w.spoil(s)
			s.now += 1000
			for range 20 {
				s.step()
			}
			var names []string
			for _, f := range judgeAll(s) {
				names = append(names, f.Check)
			}
			for _, c := range w.checks {
				if !slices.Contains(names, c) {
					t.Errorf("%s, seed %d: %q did not find it, only %q did", w.name, seed, c, names)
				}
			}
		}
	}
}

func TestTotals(t *testing.T) {
	s := newStory(1)
	s.commit(nil, put("b1", "60"), put("b2", "40"))
	good := s.scan("b")
	if fs := Totals(s.h, []kv.Span{good.Scanned[0].Span}, 100); len(fs) > 0 {
		t.Fatal(fs)
	}
	good.Scanned[0].Rows = good.Scanned[0].Rows[:1]
	if fs := Totals(s.h, []kv.Span{good.Scanned[0].Span}, 100); len(fs) != 1 {
		t.Fatalf("half a transfer was not found: %v", fs)
	}
}

// A strong read must not be ordered before one that ended earlier and saw more.
func TestStrongReadsDoNotGoBack(t *testing.T) {
	s := newStory(1)
	slow := s.commit(nil, put("x", "1"))
	slow.Call, slow.Return = s.now, s.now+1000 // both reads overlap the write
	s.now += 100
	s.read("x").Strong = true
	s.h.Ops[1].Timestamp = 0
	s.now += 100
	o := s.read("x")
	o.Strong, o.Timestamp, o.Reads = true, 0, []Seen{{Key: "x"}}
	var names []string
	for _, f := range judgeAll(s) {
		names = append(names, f.Check)
	}
	for _, c := range []string{"real time", "registers", "linearizable"} {
		if !slices.Contains(names, c) {
			t.Errorf("%s did not find the read that went back, only %q", c, names)
		}
	}
}

// TestCollectedReadsAreJudgedByCommits: below G the ledger knows nothing any more.
func TestCollectedReadsAreJudgedByCommits(t *testing.T) {
	commit := func(at kv.Timestamp, k kv.WriteKind) *Op {
		return &Op{Kind: Commit, Result: Done, Timestamp: at, Change: &Change{Writes: []kv.Write{{Kind: k, Key: kv.Key("k")}}}}
	}
	read := func(at, version kv.Timestamp) *Op {
		return &Op{Kind: Read, Result: Done, Timestamp: at, Reads: []Seen{{Key: "k", Version: version, Found: version != 0}}}
	}
	h := &History{Ops: []*Op{commit(20, kv.WriteDelete), commit(10, kv.WritePut)}}
	for _, c := range []struct {
		read *Op
		ok   bool
	}{
		{read(5, 0), true},
		{read(15, 10), true},
		{read(25, 0), true},
		{read(10, 0), false},
		{read(15, 0), false},
		{read(25, 10), false},
		{read(200, 10), true}, // above what was collected: the ledger's business
	} {
		h.Ops = append(h.Ops[:2], c.read)
		if found := Collected(h, 100); (len(found) == 0) != c.ok {
			t.Errorf("%s: found %v, want it to be right: %v", c.read, found, c.ok)
		}
	}
}
