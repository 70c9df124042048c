package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// oracleSink records grants and keeps proposals.
type oracleSink struct {
	grants []Grant
	queue  [][]byte
}

func (s *oracleSink) Propose(cmd []byte)                            { s.queue = append(s.queue, cmd) }
func (s *oracleSink) Order(kv.NodeID, Order)                        {}
func (s *oracleSink) Grant(_ kv.NodeID, g Grant)                    { s.grants = append(s.grants, g) }
func (s *oracleSink) Retain(kv.NodeID, Retain)                      {}
func (s *oracleSink) Reply(RequestID, *kv.AdminResponse, *kv.Error) {}
func (s *oracleSink) take() (cmds [][]byte)                         { cmds, s.queue = s.queue, nil; return cmds }

func founders(n int) (all []kv.NodeInfo) {
	for i := 1; i <= n; i++ {
		all = append(all, kv.NodeInfo{ID: kv.NodeID(i), Address: fmt.Sprintf("n%d", i), Nonce: uint64(i), Core: true})
	}
	return all
}

// Over changes of leader, with clocks that are wrong by days, stand still, jump and go
// back, and extensions that are lost or come late, timestamps only ever go up; and they are
// all below the bound that is in the log.
func TestOracleNeverGoesBack(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newOracleWorld(t, rng)
		for range 400 {
			w.event()
		}
		if w.granted == 0 {
			t.Fatalf("seed %d: nothing was granted", seed)
		}
	}
}

type oracleWorld struct {
	t        *testing.T
	rng      *rand.Rand
	sinks    []*oracleSink
	machines []*Machine
	skew     []int64 // ms, of the wall clocks
	log      []fakeEntry
	applied  []int // entries, of each machine
	leader   int
	term     kv.Term
	now      kv.Instant
	highest  kv.Timestamp // granted
	granted  uint64       // number of grants
}

func newOracleWorld(t *testing.T, rng *rand.Rand) *oracleWorld {
	w := &oracleWorld{t: t, rng: rng, applied: make([]int, 3), skew: make([]int64, 3)}
	for range 3 {
		s := &oracleSink{}
		w.sinks = append(w.sinks, s)
		w.machines = append(w.machines, New(Options{}, s))
	}
	w.elect()
	if err := w.machines[w.leader].InitCluster(1, founders(3), 3); err != nil {
		t.Fatal(err)
	}
	w.commit(true)
	return w
}

func (w *oracleWorld) event() {
	m, s := w.machines[w.leader], w.sinks[w.leader]
	switch w.rng.IntN(12) {
	case 0:
		w.elect()
	case 1: // the leader's clock jumps
		w.skew[w.leader] += w.rng.Int64N(200_000_000) - 100_000_000
	case 2, 3, 4:
		w.commit(true)
	case 5: // late, or not before the next election
		w.commit(false)
	case 6, 7, 8:
		w.now += kv.Instant(w.rng.Int64N(int64(700 * time.Millisecond)))
		m.Tick(w.now, 1_700_000_000_000+int64(w.now)/1_000_000+w.skew[w.leader])
	default:
		count := uint32(1 + w.rng.IntN(5))
		if w.rng.IntN(10) == 0 {
			count = 1 << 20 // more than is given at once
		}
		m.Draw(kv.NodeID(1+w.rng.IntN(3)), Draw{Seq: w.granted, Count: count})
	}
	w.check(s)
}

// commit puts what the leader proposed into the log; applied says whether the leader
// applies it now.
func (w *oracleWorld) commit(applied bool) {
	if cmds := w.sinks[w.leader].take(); len(cmds) > 0 {
		w.log = append(w.log, fakeEntry{index: kv.LogIndex(len(w.log) + 1), term: w.term, data: PackCommands(cmds)})
	}
	if applied {
		w.catchUp(w.leader)
	}
}

func (w *oracleWorld) catchUp(i int) {
	for ; w.applied[i] < len(w.log); w.applied[i]++ {
		e := w.log[w.applied[i]]
		if _, err := w.machines[i].Apply(e.index, e.term, e.data); err != nil {
			w.t.Fatal(err)
		}
	}
}

// elect makes another machine lead: first it applies all that is in the log.
func (w *oracleWorld) elect() {
	w.machines[w.leader].Unlead()
	w.sinks[w.leader].take()
	w.leader = w.rng.IntN(3)
	w.catchUp(w.leader)
	w.term++
	w.machines[w.leader].Lead(w.term)
}

func (w *oracleWorld) check(s *oracleSink) {
	for _, g := range s.grants {
		if g.First <= w.highest {
			w.t.Fatalf("granted %v after %v", g.First, w.highest)
		}
		if g.Count == 0 || g.Count > DrawCountMax {
			w.t.Fatalf("a grant of %d timestamps", g.Count)
		}
		w.highest = g.First + kv.Timestamp(g.Count) - 1
		w.granted++
	}
	s.grants = nil
	if b := w.machines[w.leader].Bound(); w.highest >= b && w.granted > 0 {
		w.t.Fatalf("granted %v, but the bound is %v", w.highest, b)
	}
}

// The queue of draws is bounded; the oldest goes.
func TestDrawsWaitingMax(t *testing.T) {
	s := &oracleSink{}
	m := New(Options{}, s)
	m.Lead(1)
	for i := range DrawsWaitingMax + 10 {
		m.Draw(1, Draw{Seq: uint64(i), Count: 1})
	}
	if err := m.InitCluster(1, founders(1), 1); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if cmds := s.take(); len(cmds) > 0 {
			if _, err := m.Apply(kv.LogIndex(i+1), 1, PackCommands(cmds)); err != nil {
				t.Fatal(err)
			}
		}
		m.Tick(kv.Instant(i+1), 1_700_000_000_000)
	}
	if len(s.grants) != DrawsWaitingMax || s.grants[0].Seq != 10 {
		t.Fatalf("%d grants, the first for %d", len(s.grants), s.grants[0].Seq)
	}
	for i, g := range s.grants[1:] {
		if g.First != s.grants[i].First+1 {
			t.Fatalf("grant %d begins at %v, the one before at %v", i+1, g.First, s.grants[i].First)
		}
	}
}

// The clock follows a jump of the wall clock as the bucket lets it.
func TestOracleClock(t *testing.T) {
	const start = 1_700_000_000_000
	o := newOracle(kv.MakeTimestamp(start, 0), 10*time.Second)
	now := kv.Instant(time.Hour)
	steps := []struct {
		elapsed time.Duration
		wall    int64 // ms after start
		clock   int64
	}{
		{0, 20, 20},
		{50 * time.Millisecond, 70, 70},
		{50 * time.Millisecond, -5000, 70},           // back: stands still
		{50 * time.Millisecond, 120, 120},            // and goes on
		{50 * time.Millisecond, 60_120, 10_120},      // forward: 10 s at once
		{time.Second, 61_120, 20_120},                // then ten times the speed
		{2 * time.Second, 63_120, 30_120},            // the bucket never holds more than 10 s
		{time.Second, 31_000, 31_000},                // the wall clock was set right: on time
		{100 * time.Hour, 360_031_000, 41_000},       // after a pause as well: 10 s at most
		{50 * time.Millisecond, 360_031_050, 41_500}, //
		{10 * time.Millisecond, 360_031_060, 41_600},
	}
	for i, s := range steps {
		now = now.Add(s.elapsed)
		o.tick(now, start+s.wall)
		if o.clock != start+s.clock {
			t.Errorf("step %d: the clock is at %d, want %d", i, o.clock-start, s.clock)
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	s := &countSink{}
	m := New(Options{}, s)
	m.Lead(1)
	m.InitCluster(1, founders(3), 3) //nolint:errcheck // three founders are fine
	index := kv.LogIndex(0)
	commit := func() {
		for len(s.queue) > 0 {
			cmds := s.queue
			s.queue = nil
			index++
			if _, err := m.Apply(index, 1, PackCommands(cmds)); err != nil {
				b.Fatal(err)
			}
		}
	}
	commit()
	wall := int64(1_700_000_000_000)
	m.Tick(0, wall)
	commit()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i++; i%100_000 == 0 {
			wall += 50
			m.Tick(kv.Instant(i), wall)
			commit()
		}
		m.Draw(kv.NodeID(1+i%3), Draw{Seq: uint64(i), Count: 100})
	}
	if s.grants != i {
		b.Fatalf("%d of %d draws were granted", s.grants, i)
	}
}

type countSink struct {
	oracleSink
	grants int
}

func (s *countSink) Grant(kv.NodeID, Grant) { s.grants++ }
