package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// trio is three nodes on perfect disks and a perfect network, for stories and benchmarks;
// the pretend world with faults is package sim.
type trio struct {
	t       testing.TB
	nodes   []*Node
	logs    []*wal.Log
	engines []*mvcc.Engine
	now     kv.Instant
	nextID  RequestID
	replies map[RequestID]Reply
	admin   map[RequestID]AdminReply
	mail    []mail
	lose    func(*Message) bool // messages that do not arrive; nil: all do
	ahead   int64               // ms by which the wall clocks are
	passes  []mvcc.GCArgs       // of collections, each step
	sized   func(*CollectTask)  // sees a measurement that is done; nil: nobody does
}

type mail struct {
	from, to int
	m        []byte
	guard    *replication.Guard
}

func newTrio(t testing.TB) *trio { return newTrioWith(t, func(*Config) {}) }

func newTrioWith(t testing.TB, change func(*Config)) *trio {
	w := &trio{t: t, replies: map[RequestID]Reply{}, admin: map[RequestID]AdminReply{}}
	var founders []kv.NodeInfo
	for i := range 3 {
		founders = append(founders, kv.NodeInfo{ID: kv.NodeID(i + 1), Address: fmt.Sprintf("127.0.0.1:%d", 7401+i), Nonce: uint64(i + 1)})
	}
	for i := range 3 {
		fs := wal.NewMemFS()
		log, rec, err := wal.Create(wal.Options{FS: fs, Dir: "log", StoreID: uint64(i + 1), SegmentBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		cfg := Config{Replication: replication.DefaultParams(), Seed: 1, LogKeepBytes: 64 << 20, EntryCacheBytes: 16 << 20, ReadEntry: log.Read}
		change(&cfg)
		n, err := New(0, cfg, Identity{Cluster: 42, Node: kv.NodeID(i + 1), Incarnation: 1, Fresh: true, Info: founders[i], Founders: founders, Peers: founders}, Boot{Log: rec})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes, w.logs, w.engines = append(w.nodes, n), append(w.logs, log), append(w.engines, e)
	}
	return w
}

// turn does all that node i wants done, at once.
func (w *trio) turn(i int) {
	n := w.nodes[i]
	for {
		e := n.Flush(w.now)
		for _, s := range e.Sends {
			w.mail = append(w.mail, mail{i, int(s.To) - 1, AppendMessage(nil, &s.Message), s.Guard})
		}
		for _, r := range e.Replies {
			w.replies[r.ID] = r
		}
		for _, r := range e.AdminReplies {
			w.admin[r.ID] = r
		}
		for _, s := range e.Faulty {
			w.t.Fatal(s)
		}
		if len(e.Appends) > 0 {
			batch := make([]wal.Append, len(e.Appends))
			sync := false
			for j, a := range e.Appends {
				batch[j], sync = a.Log, sync || a.Sync
			}
			pos, err := w.logs[i].Write(batch, sync)
			if err != nil {
				w.t.Fatal(err)
			}
			n.Stored(w.now, e.Appends, pos)
		}
		if len(e.Applies) > 0 {
			if err := RunApplies(w.engines[i], e.Applies, nil); err != nil {
				w.t.Fatal(err)
			}
			n.Applied(w.now, e.Applies)
		}
		var back []*Read
		for _, r := range e.Reads {
			r.Run(w.engines[i])
			if reply, ok := r.Finish(w.now); ok {
				w.replies[reply.ID] = reply
			} else {
				back = append(back, r)
			}
		}
		n.ReadDone(w.now, back)
		for _, d := range e.Digests {
			d.Run()
			n.DigestDone(w.now, d)
		}
		for _, c := range e.Collects {
			if !c.measure {
				w.passes = append(w.passes, c.args)
			}
			c.Run(w.engines[i])
			if c.measure && w.sized != nil {
				w.sized(c)
			}
			n.Collected(w.now, c)
		}
		if e.FlushEngine {
			w.flush(i)
		}
		if len(e.Appends)+len(e.Applies)+len(back)+len(e.Digests)+len(e.Collects) == 0 {
			return
		}
	}
}

func (w *trio) flush(i int) {
	if err := w.engines[i].Flush(); err != nil {
		w.t.Fatal(err)
	}
	var fs []Flushed
	_ = w.engines[i].FlushedReplicaStates(func(p kv.PartitionID, a kv.LogIndex, _ kv.Term) { fs = append(fs, Flushed{p, a}) })
	w.nodes[i].Flushed(w.now, fs)
}

func (w *trio) deliver() bool {
	box := w.mail
	w.mail = nil
	for _, m := range box {
		if m.guard != nil && !m.guard.Holds(w.now) {
			continue
		}
		msg, err := DecodeMessage(m.m)
		if err != nil {
			w.t.Fatal(err)
		}
		if w.lose != nil && w.lose(&msg) {
			continue
		}
		w.nodes[m.to].Receive(w.now, kv.NodeID(m.from+1), msg)
		w.turn(m.to)
	}
	return len(box) > 0
}

func (w *trio) run(d time.Duration) {
	for end := w.now + kv.Instant(d); w.now < end; {
		w.now += kv.Instant(10 * time.Millisecond)
		for i, n := range w.nodes {
			n.Tick(w.now, 1_700_000_000_000+w.ahead+int64(w.now)/1e6)
			w.turn(i)
		}
		for w.deliver() {
		}
	}
}

// leads finds the node that leads a partition.
func (w *trio) leads(p kv.PartitionID) (int, kv.Term) {
	for i, n := range w.nodes {
		if term, _, ok := n.Lease(p); ok {
			return i, term
		}
	}
	w.t.Fatalf("nobody leads partition %d", p)
	return 0, 0
}

func (w *trio) ask(i int, req *kv.Request) Reply {
	w.nextID++
	id := w.nextID
	w.nodes[i].Request(w.now, id, req)
	w.turn(i)
	for range 200 {
		if r, ok := w.replies[id]; ok {
			return r
		}
		if !w.deliver() {
			w.run(10 * time.Millisecond)
		}
	}
	w.t.Fatalf("no answer to %+v", req)
	return Reply{}
}

func (w *trio) tell(i int, req *kv.AdminRequest) AdminReply {
	w.nextID++
	id := w.nextID
	w.nodes[i].Admin(w.now, id, req)
	w.turn(i)
	for range 1000 {
		if r, ok := w.admin[id]; ok {
			return r
		}
		w.run(10 * time.Millisecond)
	}
	w.t.Fatalf("no answer to %+v", req)
	return AdminReply{}
}

func txid(n uint64) (id kv.TxID) {
	copy(id[:], fmt.Sprintf("%016d", n))
	return id
}

// TestTrio forms a cluster, makes a keyspace, writes, reads, compares the replicas.
func TestTrio(t *testing.T) {
	w := newTrio(t)
	w.run(4 * time.Second)
	core, _ := w.leads(kv.SystemPartition)
	if r := w.tell(core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: 4}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	top := w.tell(core, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k"}}).Response.Topology
	if len(top.Partitions) != 4 || len(top.Nodes) != 3 {
		t.Fatalf("topology %+v", top)
	}
	for i := range w.nodes { // each tells what it believes
		r := w.tell(i, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k", Local: true}})
		if r.Err != nil || r.Response.Topology.CoreLeader != w.nodes[core].Info().ID {
			t.Errorf("node %d does not know who leads the core: %+v, %v", i, r.Response, r.Err)
		}
	}
	for i, p := range top.Partitions {
		node, term := w.leads(p.Descriptor.Partition)
		key := kv.MakeHashKey(top.Keyspaces[0].ID, uint16(i), []byte("x"))
		put := &kv.Request{Partition: p.Descriptor.Partition, Commit: &kv.Commit{ID: txid(uint64(i + 1)), Term: term, AsOf: w.nodes[node].Heard(), Writes: []kv.Write{{Kind: kv.WritePut, Key: key, Value: []byte("v")}}}}
		r := w.ask(node, put)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		again := w.ask(node, put)
		if again.Err != nil || again.Response.Timestamp != r.Response.Timestamp {
			t.Errorf("a resent commit: %+v %v, want %v", again.Response, again.Err, r.Response.Timestamp)
		}
		got := w.ask(node, &kv.Request{Partition: p.Descriptor.Partition, Read: &kv.Read{Keys: []kv.Key{key}}})
		if got.Err != nil || len(got.Response.Rows) != 1 || string(got.Response.Rows[0].Value) != "v" {
			t.Errorf("read %+v %v", got.Response, got.Err)
		}
		c := w.tell(node, &kv.AdminRequest{Check: &kv.CheckQuery{Partition: p.Descriptor.Partition}})
		if c.Err != nil || !c.Response.Check.Equal || c.Response.Check.Digests[0].Keys != 1 {
			t.Errorf("check %+v %v", c.Response, c.Err)
		}
		x := w.tell(node, &kv.AdminRequest{Transactions: &kv.TransactionsQuery{Partition: p.Descriptor.Partition}})
		if a := x.Response.Transactions; x.Err != nil || a.Partition != p.Descriptor.Partition || a.Node != w.nodes[node].Info().ID || len(a.Transactions) != 0 {
			t.Errorf("transactions %+v %v, want those of node %d: none", x.Response, x.Err, node)
		}
	}
	if x := w.tell(core, &kv.AdminRequest{Transactions: &kv.TransactionsQuery{Partition: kv.SystemPartition}}); kv.KindOf(x.Err) != kv.Invalid {
		t.Errorf("transactions of the core: %v", x.Err)
	}
	if r := w.tell(core, &kv.AdminRequest{DropKeyspace: &kv.DropKeyspace{Name: "k"}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	w.run(3 * time.Second)
	for i, n := range w.nodes {
		if got := len(n.set.Groups()); got != 2 { // the core and the keyspace "default"
			t.Errorf("node %d has %d replicas after the drop", i+1, got)
		}
	}
}

// BenchmarkPut is the CPU of a put on three nodes together, without network and disk: 64 at
// a time over 8 partitions.
func BenchmarkPut(b *testing.B) {
	w := newTrio(b)
	w.run(4 * time.Second)
	core, _ := w.leads(kv.SystemPartition)
	w.tell(core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: 8}})
	top := w.tell(core, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k"}}).Response.Topology
	value := make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		clear(w.replies)
		for range 64 {
			done++
			w.nextID++
			i := done % 8
			p := top.Partitions[i].Descriptor.Partition
			node, term := w.leads(p)
			key := kv.MakeHashKey(top.Keyspaces[0].ID, uint16(i), fmt.Appendf(nil, "key%08d", done%100000))
			w.nodes[node].Request(w.now, w.nextID, &kv.Request{Partition: p, Commit: &kv.Commit{
				ID: txid(uint64(w.nextID)), Term: term, AsOf: w.nodes[node].Heard(), Writes: []kv.Write{{Kind: kv.WritePut, Key: key, Value: value}},
			}})
		}
		for i := range w.nodes {
			w.turn(i)
		}
		for w.deliver() {
		}
		if len(w.replies) < 64 {
			w.run(10 * time.Millisecond)
		}
	}
}
