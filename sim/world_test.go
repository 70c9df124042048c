package sim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

func TestEventsComeInOrder(t *testing.T) {
	c := newScheduler(1)
	type done struct {
		at  ns
		seq int
	}
	var got []done
	for i := range 2000 {
		at := c.upTo(50)
		c.after(at, func() { got = append(got, done{c.now, i}) })
	}
	for c.step(100) {
	}
	if len(got) != 2000 || c.now != 100 {
		t.Fatalf("%d events ran, until %d", len(got), c.now)
	}
	if !slices.IsSortedFunc(got, func(a, b done) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.seq - b.seq
	}) {
		t.Fatal("events ran out of order")
	}
}

func TestClocksRunAtTheirRate(t *testing.T) {
	c := newScheduler(1)
	for range 20 {
		k := newClock(c, 10_000)
		c.now = 0
		from := k.now()
		c.now = 100 * s
		if d := ns(k.now() - from); d < 99*s-1 || d > 101*s+1 {
			t.Fatalf("a clock with an error of 1 %% shows %d ns in 100 s", d)
		}
		if d := k.span(k.span(s)) - s; d > 40*ms || d < -40*ms {
			t.Fatalf("spans are off by %d ns", d)
		}
	}
}

// quietWorld is a world whose machines run nothing: what is sent can be looked at.
func quietWorld(f NetworkFaults) *World {
	c := base("quiet", "for tests")
	c.Network = f
	w := newWorld(c, Config{Seed: 1})
	for i := range 3 {
		m := newMachine(w, kv.NodeID(i+1))
		m.process = &process{w: w, m: m}
		m.process.halt.paused = 1 << 60 // nothing leaves the inbox
		m.process.loops = []*eventLoop{{p: m.process, inbox: make([][]input, m.process.from(3, 1)+1)}}
		w.machines = append(w.machines, m)
	}
	w.net = newNetwork(w, 3, f)
	return w
}

func heartbeat(n int) *node.Message {
	return &node.Message{Heartbeat: &replication.Heartbeat{Incarnation: 1, Sent: kv.Instant(n)}}
}

func orderDone() *node.Message { return &node.Message{Digest: &node.Digest{Partition: 1}} }

func (w *World) arrived(at kv.NodeID, from kv.NodeID, lane int) int {
	p := w.machine(at).process
	return len(p.loops[0].inbox[p.from(from, lane)])
}

func TestStreamsKeepOrderAndHeartbeatsOvertake(t *testing.T) {
	w := quietWorld(NetworkFaults{DelayMin: us, DelayMax: 100 * ms})
	for i := range 200 {
		w.net.send(1, 2, heartbeat(i))
		w.net.send(1, 2, orderDone())
	}
	last := [2]ns{}
	overtook := false
	for w.step(s) {
		for lane := range 2 {
			if n := w.arrived(2, 1, lane); n > 0 && last[lane] == 0 {
				last[lane] = w.now
			}
		}
		overtook = overtook || w.arrived(2, 1, 0) != w.arrived(2, 1, 1)
	}
	if w.arrived(2, 1, 0) != 200 || w.arrived(2, 1, 1) != 200 {
		t.Fatalf("%d and %d of 200 arrived", w.arrived(2, 1, 0), w.arrived(2, 1, 1))
	}
	if !overtook {
		t.Fatal("the two lanes are one")
	}
}

func TestCutsAndBreaks(t *testing.T) {
	w := quietWorld(NetworkFaults{DelayMin: ms, DelayMax: ms})
	w.net.cut(1, 2, 10*ms, true)
	w.net.send(1, 2, heartbeat(1))
	w.net.send(1, 2, orderDone())
	w.net.send(2, 1, orderDone())
	for w.step(5 * ms) {
	}
	if w.arrived(2, 1, 0) != 1 || w.arrived(2, 1, 1) != 0 || w.arrived(1, 2, 1) != 1 {
		t.Fatal("a cut of one direction that spares heartbeats does something else")
	}
	w.net.send(2, 3, orderDone())
	w.net.breakStreams(2, 3)
	for w.step(20 * ms) {
	}
	if w.arrived(3, 2, 1) != 1 || w.arrived(2, 3, 1) != 1 { // the news that the stream is gone, and nothing else
		t.Fatalf("after a break %d and %d inputs arrive", w.arrived(3, 2, 1), w.arrived(2, 3, 1))
	}
	w.net.send(1, 2, orderDone())
	for w.step(40 * ms) {
	}
	if w.arrived(2, 1, 1) != 1 {
		t.Fatal("a cut that is over still cuts")
	}
}

// Calls and their answers are lost, doubled and overtaken like all that is not a heartbeat.
func TestCallsTravelLikeTheRest(t *testing.T) {
	call := func(i int) *node.Message {
		return &node.Message{Call: &node.Call{Number: uint64(i + 1), Request: &kv.Request{Partition: 1, Resolve: &kv.Resolve{ID: kv.TxID{byte(i)}}}}}
	}
	done := func(i int) *node.Message {
		return &node.Message{CallDone: &node.CallDone{Number: uint64(i + 1), Response: &kv.Response{}}}
	}
	arrive := func(f NetworkFaults, m func(int) *node.Message) int {
		w := quietWorld(f)
		for i := range 400 {
			w.net.send(1, 2, m(i))
		}
		for w.step(s) {
		}
		if w.arrived(2, 1, 0) != 0 {
			t.Error("it is urgent")
		}
		return w.arrived(2, 1, 1)
	}
	for name, m := range map[string]func(int) *node.Message{"call": call, "answer": done} {
		if n := arrive(NetworkFaults{DelayMin: us, DelayMax: ms}, m); n != 400 {
			t.Errorf("%s: %d of 400 arrive over a perfect network", name, n)
		}
		if n := arrive(NetworkFaults{DelayMin: us, DelayMax: ms, Drop: 0.5}, m); n < 100 || n > 300 {
			t.Errorf("%s: %d of 400 arrive if half of them are lost", name, n)
		}
		if n := arrive(NetworkFaults{DelayMin: us, DelayMax: ms, Double: 0.5}, m); n < 500 || n > 700 {
			t.Errorf("%s: %d of 400 arrive if half of them come twice", name, n)
		}
	}
}

// A write that a crash cuts short is there in part, in all parts that a device can leave.
func TestTornWrites(t *testing.T) {
	seen := map[int]bool{}
	for changes := range 6 {
		fs := wal.NewMemFS()
		log, _, err := wal.Create(wal.Options{FS: fs, Dir: logDir, StoreID: 1, SegmentBytes: segmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		create := wal.Append{Group: 1, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 1}}
		if _, err := log.Write([]wal.Append{create}, true); err != nil {
			t.Fatal(err)
		}
		entry := wal.Append{Group: 1, Entries: []wal.Entry{{Index: 1, Term: 1, Data: bytes.Repeat([]byte("x"), 3000)}}}
		fs = torn(fs, changes, func() { _, _ = log.Write([]wal.Append{entry}, true) })
		fs.Crash(rand.New(rand.NewPCG(1, uint64(changes))), wal.CrashLose)
		_, rec, err := wal.Open(wal.Options{FS: fs, Dir: logDir, StoreID: 1, SegmentBytes: segmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		if g := rec.Find(1); g == nil || g.Fault != nil {
			t.Fatalf("after %d changes the synced record is gone: %+v", changes, g)
		}
		seen[int(rec.Find(1).View.LastIndex())] = true
	}
	if !seen[0] || !seen[1] {
		t.Fatalf("a write that is cut short at any of its steps always ends the same way: %v", seen)
	}
}

func TestTwoFatesOfOneCommitAreSeen(t *testing.T) {
	for _, x := range []struct {
		name string
		told []answer
		bad  bool
	}{
		{"the same twice", []answer{{response: &kv.Response{Timestamp: 5}}, {response: &kv.Response{Timestamp: 5}}}, false},
		{"two timestamps", []answer{{response: &kv.Response{Timestamp: 5}}, {response: &kv.Response{Timestamp: 6}}}, true},
		{"committed and aborted", []answer{{response: &kv.Response{Timestamp: 5}}, {err: &kv.Error{Kind: kv.Aborted}}}, true},
		{"aborted and lost", []answer{{err: &kv.Error{Kind: kv.Aborted}}, {lost: true, err: &kv.Error{Kind: kv.Unavailable}}}, false},
		{"an older leader knows nothing", []answer{{response: &kv.Response{Timestamp: 5}}, {err: &kv.Error{Kind: kv.StaleTerm, Term: 1}}}, false},
		{"a newer one does", []answer{{response: &kv.Response{Timestamp: 5}}, {err: &kv.Error{Kind: kv.StaleTerm, Term: 9}}}, true},
	} {
		w := quietWorld(NetworkFaults{})
		for _, a := range x.told {
			w.heardOf(&kv.Commit{ID: kv.TxID{1}, Term: 3}, a)
		}
		if (w.phase.broken != nil) != x.bad {
			t.Errorf("%s: %v", x.name, w.phase.broken)
		}
	}
}

func TestRestOfAScan(t *testing.T) {
	k := func(x string) kv.Key { return kv.Key(x) }
	whole := kv.Span{Start: k("a"), End: k("m")}
	part := kv.Span{Start: k("a"), End: k("f")}
	for _, x := range []struct {
		done    kv.Span
		resume  kv.Key
		reverse bool
		want    kv.Span
	}{
		{part, k("c"), false, kv.Span{Start: k("c"), End: k("m")}},
		{part, nil, false, kv.Span{Start: k("f"), End: k("m")}},
		{kv.Span{Start: k("f"), End: k("m")}, k("h"), true, kv.Span{Start: k("a"), End: k("h")}},
		{kv.Span{Start: k("f"), End: k("m")}, nil, true, kv.Span{Start: k("a"), End: k("f")}},
	} {
		if got := rest(whole, x.done, x.resume, x.reverse); !bytes.Equal(got.Start, x.want.Start) || !bytes.Equal(got.End, x.want.End) {
			t.Errorf("after %q, resume %q, reverse %v: %q", x.done, x.resume, x.reverse, got)
		}
	}
	if !rest(whole, whole, nil, false).IsEmpty() || !rest(whole, whole, nil, true).IsEmpty() {
		t.Error("a scan that is done has something left")
	}
}
