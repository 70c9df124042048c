package client_test

import (
	"bytes"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/server"
)

// world is a model of a cluster: partitions with leaders and terms in memory, behind real
// servers on real sockets. It keeps the rules that a client relies on (C1, D1, I1, I6).
type world struct {
	mu        sync.Mutex
	oracle    kv.Timestamp
	keyspaces []kv.Keyspace
	parts     []*part // in key order
	nodes     []*node
	lastID    uint64
	// fault decides what goes wrong with a request; nil: nothing. It runs under mu.
	fault func(n *node, q *kv.Request) fault
	// executed counts executions of each id.
	executed map[kv.TxID]int
	// admins counts admin requests that reached a backend.
	admins int
	// tooOld is how many of the next reads are answered with TooOld.
	tooOld int
	// core is who is said to lead the core; 0: nobody knows.
	core kv.NodeID
	// closed is up to where nodes that do not lead answer reads.
	closed kv.Timestamp
	// held are the timestamps that clients wanted to hold; older ones than oldest are not.
	held   []kv.Timestamp
	oldest kv.Timestamp
}

// fault is what goes wrong with one request.
type fault int

const (
	none       fault = iota
	loseAnswer       // it is executed, and the connection is cut before the answer
	loseBoth         // the connection is cut before it is executed
	unavailable
	notLeader // without a hint
	silent    // it is executed and no answer ever comes
)

// part is one partition.
type part struct {
	d      *kv.Descriptor
	leader kv.NodeID
	term   kv.Term
	rows   map[string][]kv.Row // versions, oldest first; Value nil = deleted
	seen   map[kv.TxID]*result // in this term
	done   map[kv.TxID]*result // for ever
}

// result is the outcome of one id; nil response = aborted.
type result struct{ response *kv.Response }

// node is one server.
type node struct {
	w        *world
	id       kv.NodeID
	listener *cutListener
	door     *door.Door // over the listener; nil with TLS
	grpc     *grpc.Server
	server   *server.Server
	stuck    atomic.Bool   // it says nothing any more
	thaw     chan struct{} // closed: it does again
}

func newWorld(tb testing.TB, nodes int) *world {
	tb.Helper()
	w, err := startWorld(nodes)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.stop)
	return w
}

// startWorld starts a world with the keyspace default; stop ends it.
func startWorld(nodes int) (*world, error) {
	w := &world{oracle: kv.MakeTimestamp(time.Now().UnixMilli(), 1), executed: map[kv.TxID]int{}}
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.stop()
			return nil, err
		}
		w.addNode(kv.NodeID(i+1), l)
	}
	w.create(&kv.CreateKeyspace{Name: "default", Scheme: kv.SchemeRange})
	return w, nil
}

func (w *world) addNode(id kv.NodeID, l net.Listener) {
	n := &node{w: w, id: id, listener: &cutListener{Listener: l}, grpc: grpc.NewServer(server.GRPCOptions()...), thaw: make(chan struct{})}
	n.server = server.Register(n.grpc, n, server.Options{Dev: true, Log: quiet})
	w.nodes = append(w.nodes, n)
	n.door = door.Open(n.listener, n.server.Plain())
	go n.grpc.Serve(n.door)
}

// quiet keeps the tests' faults out of the tests' output.
var quiet = slog.New(slog.DiscardHandler)

func (w *world) stop() {
	for _, n := range w.nodes {
		close(n.thaw)
		n.server.Close()
		n.grpc.GracefulStop()
		if n.door != nil {
			n.door.Close()
		}
	}
}

// target is the address of every node.
func (w *world) target() string {
	var b []byte
	for i, n := range w.nodes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, n.listener.Addr().String()...)
	}
	return string(b)
}

// open opens a client that the test closes.
func (w *world) open(tb testing.TB, opts ...client.Option) *client.Client {
	tb.Helper()
	c, err := client.Open(tb.Context(), w.target(), append(opts, client.WithLogger(quiet))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// cutListener can cut all connections that it accepted.
type cutListener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *cutListener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// create makes a keyspace; it runs under mu, or before anybody is there.
func (w *world) create(q *kv.CreateKeyspace) *kv.Error {
	for _, k := range w.keyspaces {
		if k.Name == q.Name {
			return kv.Errorf(kv.Exists, "keyspace %q exists", q.Name)
		}
	}
	w.lastID++
	k := kv.Keyspace{ID: kv.KeyspaceID(w.lastID), Name: q.Name, Scheme: q.Scheme, Partitions: max(q.Partitions, 1), Retention: q.Retention}
	w.keyspaces = append(w.keyspaces, k)
	whole := k.Span()
	at := []kv.Key{whole.Start}
	for _, s := range q.SplitAt {
		at = append(at, kv.MakeKey(k.ID, s))
	}
	if q.Scheme == kv.SchemeHash {
		for b := 1; b < q.Partitions; b++ {
			at = append(at, kv.MakeHashKey(k.ID, uint16(b), nil))
		}
	}
	at = append(at, whole.End)
	for i := range at[1:] {
		w.addPart(k.ID, kv.Span{Start: at[i], End: at[i+1]})
	}
	return nil
}

func (w *world) addPart(ks kv.KeyspaceID, s kv.Span) *part {
	w.lastID++
	d := &kv.Descriptor{Partition: kv.PartitionID(w.lastID), Keyspace: ks, Span: s, Generation: 1}
	for i, n := range w.nodes {
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(i + 1), Node: n.id, Role: kv.RoleVoter})
	}
	p := &part{
		d: d, leader: kv.NodeID(w.lastID%uint64(len(w.nodes)) + 1), term: kv.Term(w.lastID%3 + 1),
		rows: map[string][]kv.Row{}, seen: map[kv.TxID]*result{}, done: map[kv.TxID]*result{},
	}
	w.parts = append(w.parts, p)
	slices.SortFunc(w.parts, func(a, b *part) int { return bytes.Compare(a.d.Span.Start, b.d.Span.Start) })
	return p
}

// elect gives a partition another leader in a new term.
func (w *world) elect(p *part) {
	p.leader = p.leader%kv.NodeID(len(w.nodes)) + 1
	p.term++
	p.seen = map[kv.TxID]*result{}
}

// split cuts the partition of a full key there; both halves get new descriptors.
func (w *world) split(at kv.Key) {
	for _, p := range w.parts {
		if !p.d.Span.Contains(at) {
			continue
		}
		right := w.addPart(p.d.Keyspace, kv.Span{Start: at, End: p.d.Span.End})
		right.done = p.done
		left := p.d.Clone()
		left.Span.End = at
		left.Generation++
		p.d = left
		for k, v := range p.rows {
			if right.d.Span.Contains(kv.Key(k)) {
				right.rows[k] = v
				delete(p.rows, k)
			}
		}
		return
	}
}

func (w *world) draw() kv.Timestamp {
	w.oracle = max(w.oracle+1, kv.MakeTimestamp(time.Now().UnixMilli(), 0))
	return w.oracle
}

func (n *node) Info() kv.NodeInfo {
	return kv.NodeInfo{ID: n.id, Address: n.listener.Addr().String(), Core: true}
}

func (n *node) Heard() kv.Timestamp {
	if n.stuck.Load() {
		<-n.thaw
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.oracle
}

func (n *node) Cancel(*server.Submission) {}

func (n *node) Submit(batch []*server.Submission) {
	for _, s := range batch {
		a, err, answer := n.handle(s.Request)
		if answer {
			s.Asker.Answer(a, err)
		}
	}
}

// handle is false if no answer ever comes.
func (n *node) handle(q *kv.Request) (*kv.Response, *kv.Error, bool) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	f := none
	if w.fault != nil {
		f = w.fault(n, q)
	}
	switch f {
	case loseBoth:
		n.listener.cut()
		return nil, nil, false
	case unavailable:
		return nil, kv.Errorf(kv.Unavailable, "overloaded"), true
	case notLeader:
		return nil, &kv.Error{Kind: kv.NotLeader}, true
	}
	a, err := n.execute(q)
	if a != nil {
		a.Heard = w.oracle
		a.Timing = timingOf(q)
	}
	if err != nil {
		err.Timing = timingOf(q)
	}
	switch f {
	case loseAnswer:
		n.listener.cut()
		return nil, nil, false
	case silent:
		return nil, nil, false
	}
	return a, err, true
}

func (n *node) execute(q *kv.Request) (*kv.Response, *kv.Error) {
	w := n.w
	i := slices.IndexFunc(w.parts, func(p *part) bool { return p.d.Partition == q.Partition })
	if i < 0 {
		return nil, kv.Errorf(kv.NotFound, "partition %d is not here", q.Partition)
	}
	p := w.parts[i]
	if p.leader != n.id && !w.covered(q) {
		return nil, &kv.Error{Kind: kv.NotLeader, Leader: p.leader, Term: p.term, Partition: p.d.Partition, Closed: w.closed}
	}
	if !p.holds(q) {
		return nil, &kv.Error{Kind: kv.WrongPartition, Descriptors: w.descriptorsAround(p)}
	}
	switch {
	case q.Read != nil && w.tooOld > 0:
		w.tooOld--
		return nil, kv.Errorf(kv.TooOld, "forgotten")
	case q.Read != nil:
		return p.answer(n, w.read(p, q.Read)), nil
	case q.Scan != nil:
		return p.answer(n, w.scan(p, q.Scan)), nil
	case q.Commit != nil:
		return w.commit(p, q.Commit)
	}
	return p.outcome(q.Outcome), nil
}

func (w *world) descriptorsAround(p *part) []*kv.Descriptor {
	var ds []*kv.Descriptor
	for _, o := range w.parts {
		if o.d.Keyspace == p.d.Keyspace {
			ds = append(ds, o.d)
		}
	}
	return ds
}

func (p *part) holds(q *kv.Request) bool {
	switch s := p.d.Span; {
	case q.Read != nil:
		return !slices.ContainsFunc(q.Read.Keys, func(k kv.Key) bool { return !s.Contains(k) })
	case q.Scan != nil:
		return s.ContainsSpan(q.Scan.Span)
	case q.Commit != nil:
		return p.holdsAll(q.Commit.Reads, q.Commit.Spans, q.Commit.Writes)
	default:
		return s.Contains(q.Outcome.Anchor)
	}
}

func (p *part) holdsAll(reads []kv.ReadMark, spans []kv.Span, writes []kv.Write) bool {
	s := p.d.Span
	return !slices.ContainsFunc(writes, func(w kv.Write) bool { return !s.Contains(w.Key) }) &&
		!slices.ContainsFunc(reads, func(r kv.ReadMark) bool { return !s.Contains(r.Key) }) &&
		!slices.ContainsFunc(spans, func(r kv.Span) bool { return !s.ContainsSpan(r) })
}

// at is the newest version of a key up to r; 0 = the newest of all.
func (p *part) at(k string, r kv.Timestamp) (kv.Row, bool) {
	versions := p.rows[k]
	for i := len(versions) - 1; i >= 0; i-- {
		if r == 0 || versions[i].Version <= r {
			return versions[i], versions[i].Value != nil
		}
	}
	return kv.Row{}, false
}
