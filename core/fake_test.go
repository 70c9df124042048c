package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// fakeCluster plays everything around a machine: its log, the nodes that do its orders, and
// the leaders of partitions. Its nodes are obedient, so that what is tested is what the
// core asks of them.
type fakeCluster struct {
	t     testing.TB
	m     *Machine
	opts  Options
	now   kv.Instant
	wall  int64
	nodes map[kv.NodeID]*fakeNode
	parts map[kv.PartitionID]*fakePart
	fakeLog
	fakeNet
	fakeClient
}

// fakeLog is the log of the system partition and what was applied of it.
type fakeLog struct {
	term    kv.Term
	queue   [][]byte // proposed, not committed
	entries []fakeEntry
	keys    map[string]string // the engine's system keys
}

// fakeNet carries orders to nodes.
type fakeNet struct {
	orders []fakeOrder // under way
	sent   int

	retained map[kv.NodeID]Retain // newest, by node

	lossy int // every so many orders one is lost; 0 = none
}

// fakeClient hears the machine's answers.
type fakeClient struct {
	trace   []string
	replies map[RequestID]fakeReply
	nextID  RequestID
}

type fakeEntry struct {
	index kv.LogIndex
	term  kv.Term
	data  []byte
}

type fakeNode struct {
	alive, draining bool
	held            map[ReplicaRef]bool
	damaged         map[ReplicaRef]bool
	buried          map[ReplicaRef]bool
}

type fakePart struct {
	desc   *kv.Descriptor
	leader kv.NodeID
	term   kv.Term
}

type fakeOrder struct {
	to    kv.NodeID
	order Order
}

type fakeReply struct {
	resp *kv.AdminResponse
	err  *kv.Error
}

func newFakeCluster(t testing.TB, opts Options) *fakeCluster {
	f := &fakeCluster{
		t: t, opts: opts, nodes: map[kv.NodeID]*fakeNode{}, parts: map[kv.PartitionID]*fakePart{},
		now: kv.Instant(time.Hour), wall: 1_700_000_000_000,
	}
	f.retained = map[kv.NodeID]Retain{}
	f.keys, f.replies = map[string]string{}, map[RequestID]fakeReply{}
	f.m = New(opts, f)
	return f
}

func (f *fakeCluster) say(format string, args ...any) {
	f.trace = append(f.trace, fmt.Sprintf(format, args...))
}

func (f *fakeCluster) Propose(cmd []byte) {
	p, err := decodeCommand(cmd)
	if err != nil {
		f.t.Fatalf("proposed an undecodable command: %v", err)
	}
	f.say("propose %s", commandString(p.command))
	f.queue = append(f.queue, cmd)
}

func (f *fakeCluster) Order(to kv.NodeID, o Order) {
	f.say("order to %d: %s", to, orderString(o))
	f.orders = append(f.orders, fakeOrder{to, o})
}

func (f *fakeCluster) Grant(to kv.NodeID, g Grant) {
	f.say("grant to %d: seq=%d first=%d+%d count=%d", to, g.Seq, g.First.UnixMillis()-1_700_000_000_000, g.First.Counter(), g.Count)
}

func (f *fakeCluster) Retain(to kv.NodeID, r Retain) { f.retained[to] = r }

func (f *fakeCluster) Reply(id RequestID, resp *kv.AdminResponse, err *kv.Error) {
	if _, twice := f.replies[id]; twice {
		f.t.Fatalf("request %d was answered twice", id)
	}
	f.replies[id] = fakeReply{resp, err}
	if err != nil {
		f.say("reply %d: %v", id, err)
		return
	}
	f.say("reply %d: %s", id, responseString(resp))
}

// commit applies everything proposed as one entry.
func (f *fakeCluster) commit() {
	if len(f.queue) == 0 {
		return
	}
	data := PackCommands(f.queue)
	f.queue = nil
	f.apply(data)
}

func (f *fakeCluster) apply(data []byte) []Write {
	e := fakeEntry{index: kv.LogIndex(len(f.entries) + 2), term: f.term, data: data}
	f.entries = append(f.entries, e)
	writes, err := f.m.Apply(e.index, e.term, e.data)
	if err != nil {
		f.t.Fatal(err)
	}
	putAll(f.keys, writes)
	return writes
}

func putAll(keys map[string]string, writes []Write) {
	for _, w := range writes {
		if w.Value == nil {
			delete(keys, w.Key)
		} else {
			keys[w.Key] = string(w.Value)
		}
	}
}

func loaded(t testing.TB, opts Options, sink Sink, keys map[string]string) *Machine {
	m := New(opts, sink)
	err := m.Load(func(yield func(string, []byte) bool) {
		for k, v := range keys {
			if !yield(k, []byte(v)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// elect makes the machine lead a new term; what was proposed and not committed is lost.
func (f *fakeCluster) elect() {
	f.m.Unlead()
	f.queue, f.orders = nil, nil
	f.term++
	f.m.Lead(f.term)
}

// found makes a cluster of n nodes.
func (f *fakeCluster) found(n, replicas int, locality func(i int) string) {
	var nodes []kv.NodeInfo
	for i := 1; i <= n; i++ {
		nodes = append(nodes, kv.NodeInfo{ID: kv.NodeID(i), Address: fmt.Sprintf("n%d:1", i), Locality: locality(i), Nonce: uint64(100 + i)})
	}
	nodes = ChooseCore(nodes)
	system := SystemDescriptor(nodes)
	for _, i := range nodes {
		f.addNode(i.ID)
		if r, ok := system.ReplicaOn(i.ID); ok {
			f.nodes[i.ID].held[ReplicaRef{kv.SystemPartition, r.ID}] = true
		}
	}
	f.parts[kv.SystemPartition] = &fakePart{desc: system}
	f.elect()
	if err := f.m.InitCluster(77, nodes, replicas); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeCluster) addNode(n kv.NodeID) {
	f.nodes[n] = &fakeNode{alive: true, held: map[ReplicaRef]bool{}, damaged: map[ReplicaRef]bool{}, buried: map[ReplicaRef]bool{}}
}

// step is 50 ms in the life of the cluster; nodes report every 500 ms.
func (f *fakeCluster) step() {
	f.now += kv.Instant(50 * time.Millisecond)
	f.wall += 50
	f.commit()
	f.m.Tick(f.now, f.wall)
	orders := f.orders
	f.orders = nil
	for _, o := range orders {
		if f.sent++; f.lossy != 0 && f.sent%f.lossy == 0 {
			continue
		}
		if n := f.nodes[o.to]; n != nil && n.alive {
			f.obey(o.to, n, o.order)
		}
	}
	f.electParts()
	if f.now/kv.Instant(50*time.Millisecond)%10 == 0 {
		for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
			if f.nodes[id].alive {
				f.report(id)
			}
		}
	}
}

func (f *fakeCluster) run(d time.Duration) {
	for end := f.now.Add(d); f.now < end; {
		f.step()
	}
}

// obey does an order as a node does.
func (f *fakeCluster) obey(id kv.NodeID, n *fakeNode, o Order) {
	switch {
	case o.Create != nil:
		r, _ := o.Create.ReplicaOn(id)
		if f.parts[o.Create.Partition] == nil {
			f.parts[o.Create.Partition] = &fakePart{desc: o.Create}
		}
		f.make(id, n, ReplicaRef{o.Create.Partition, r.ID})
	case o.Join != nil:
		f.make(id, n, ReplicaRef{o.Join.Descriptor.Partition, o.Join.Replica})
	case o.Drop != nil:
		ref := ReplicaRef(*o.Drop)
		f.checkDrop(id, ref)
		delete(n.held, ref)
		delete(n.damaged, ref)
		n.buried[ref] = true
		f.m.OrderDone(id, OrderDone{Partition: ref.Partition, Replica: ref.Replica, Dropped: true})
	case o.ChangeReplicas != nil:
		f.change(id, o.ChangeReplicas)
	case o.MoveLeader != nil:
		p := f.parts[o.MoveLeader.Partition]
		if p == nil || p.leader != id || !f.nodes[o.MoveLeader.To].alive {
			f.m.OrderDone(id, OrderDone{Partition: o.MoveLeader.Partition, Err: "does not lead it, or the target is deaf"})
			return
		}
		p.leader = o.MoveLeader.To
		p.term++
		f.report(p.leader)
	}
}

func (f *fakeCluster) make(id kv.NodeID, n *fakeNode, ref ReplicaRef) {
	if n.buried[ref] {
		f.m.OrderDone(id, OrderDone{Partition: ref.Partition, Replica: ref.Replica, Err: "this replica was dropped"})
		return
	}
	n.held[ref] = true
	f.m.OrderDone(id, OrderDone{Partition: ref.Partition, Replica: ref.Replica})
}

// checkDrop is the rule that matters most: a member of a partition that is not dropped is
// never dropped, nor is one that the partition does not know of yet.
func (f *fakeCluster) checkDrop(id kv.NodeID, ref ReplicaRef) {
	d, known := f.m.Descriptor(ref.Partition)
	if !known || f.m.state.phase(d) == phaseDropping {
		return
	}
	p := f.parts[ref.Partition]
	if p.desc.NodeOf(ref.Replica) != 0 || ref.Replica >= p.desc.NextReplica {
		f.t.Fatalf("node %d was told to drop replica %d of partition %d, which is a member", id, ref.Replica, ref.Partition)
	}
}

func (f *fakeCluster) change(id kv.NodeID, c *ReplicaChange) {
	p := f.parts[c.Partition]
	if p == nil || p.leader != id || c.Generation < p.desc.Generation {
		return
	}
	d := p.desc.Clone()
	r, has := d.ReplicaOn(c.Add)
	switch {
	case c.Add != 0 && !has:
		d.Replicas = append(d.Replicas, kv.Replica{ID: d.NextReplica, Node: c.Add, Role: kv.RoleLearner})
		d.NextReplica++
	case c.Add != 0 && r.Role == kv.RoleLearner:
		n := f.nodes[c.Add]
		if n == nil || !n.alive || !n.held[ReplicaRef{c.Partition, r.ID}] {
			return // it has not caught up
		}
		for i := range d.Replicas {
			if d.Replicas[i].ID == r.ID {
				d.Replicas[i].Role = kv.RoleVoter
			}
		}
		d.Replicas = slices.DeleteFunc(d.Replicas, func(x kv.Replica) bool { return x.Node == c.Remove }) // one joint change
	default:
		old, there := d.ReplicaOn(c.Remove)
		if !there {
			return
		}
		d.Replicas = slices.DeleteFunc(d.Replicas, func(x kv.Replica) bool { return x.ID == old.ID })
	}
	d.Generation++
	p.desc = d
	f.electParts()
	if f.nodes[p.leader] != nil {
		f.report(p.leader)
	}
}

// sound reports whether a replica can vote.
func (f *fakeCluster) sound(p kv.PartitionID, r kv.Replica) bool {
	n := f.nodes[r.Node]
	ref := ReplicaRef{p, r.ID}
	return n != nil && n.alive && n.held[ref] && !n.damaged[ref]
}

// electParts gives each partition with a quorum a leader, the first sound voter from its id on.
func (f *fakeCluster) electParts() {
	for _, id := range slices.Sorted(maps.Keys(f.parts)) {
		p := f.parts[id]
		var voters, sound []kv.Replica
		for _, r := range p.desc.Replicas {
			if r.Role == kv.RoleVoter {
				voters = append(voters, r)
				if f.sound(id, r) {
					sound = append(sound, r)
				}
			}
		}
		if len(sound) < len(voters)/2+1 {
			p.leader = 0
			continue
		}
		if !slices.ContainsFunc(sound, func(r kv.Replica) bool { return r.Node == p.leader }) {
			p.leader = sound[int(id)%len(sound)].Node
			p.term++
		}
	}
}

func (f *fakeCluster) report(id kv.NodeID) {
	n := f.nodes[id]
	r := &Report{Complete: true, Replicas: len(n.held), Bytes: int64(len(n.held)) << 20, Draining: n.draining}
	for ref := range n.held {
		r.Held = append(r.Held, ref)
	}
	for ref := range n.damaged {
		r.Damaged = append(r.Damaged, ref)
	}
	byID := func(a, b ReplicaRef) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Replica, b.Replica))
	}
	slices.SortFunc(r.Held, byID)
	slices.SortFunc(r.Damaged, byID)
	for _, pid := range slices.Sorted(maps.Keys(f.parts)) {
		if p := f.parts[pid]; p.leader == id {
			r.Leaders = append(r.Leaders, LeaderReport{Partition: pid, Term: p.term, Descriptor: p.desc, Applied: 10, Keys: 3, Bytes: 300})
		}
	}
	f.m.Report(id, r)
}

func (f *fakeCluster) admin(req *kv.AdminRequest) RequestID {
	f.nextID++
	f.m.Admin(f.nextID, req)
	return f.nextID
}

func commandString(c command) string {
	switch c := c.(type) {
	case *initCluster:
		return fmt.Sprintf("init %d, %d founders, system %s, %s", c.ClusterID, len(c.Founders), descriptorString(c.System), commandString(&c.Default))
	case *join:
		return fmt.Sprintf("join %s %q nonce=%d", c.Address, c.Locality, c.Nonce)
	case *createKeyspace:
		return fmt.Sprintf("create %q %v split=%q on %v", c.Name, c.Scheme, c.SplitAt, c.Placement)
	case *dropKeyspace:
		return fmt.Sprintf("drop keyspace %d", c.Keyspace)
	case *keyspaceReady:
		return fmt.Sprintf("ready keyspace %d", c.Keyspace)
	case *forgetKeyspace:
		return fmt.Sprintf("forget keyspace %d", c.Keyspace)
	case *putDescriptor:
		return "put " + descriptorString(c.Descriptor)
	case *setKeyspace:
		return fmt.Sprintf("set keyspace %d: retention %v", c.Keyspace, c.Retention)
	case *extendBound:
		return fmt.Sprintf("extend to %d", c.Bound.UnixMillis()-1_700_000_000_000)
	}
	return "?"
}

func descriptorString(d *kv.Descriptor) string {
	var rs []string
	for _, r := range d.Replicas {
		s := fmt.Sprintf("%d@%d", r.ID, r.Node)
		if r.Role == kv.RoleLearner {
			s += "(learner)"
		}
		rs = append(rs, s)
	}
	return fmt.Sprintf("p%d/g%d[%s]", d.Partition, d.Generation, strings.Join(rs, " "))
}

func orderString(o Order) string {
	switch {
	case o.Create != nil:
		return "create " + descriptorString(o.Create)
	case o.Join != nil:
		return fmt.Sprintf("join as %d %s", o.Join.Replica, descriptorString(o.Join.Descriptor))
	case o.Drop != nil:
		return fmt.Sprintf("drop p%d replica %d", o.Drop.Partition, o.Drop.Replica)
	case o.ChangeReplicas != nil:
		c := o.ChangeReplicas
		return fmt.Sprintf("change p%d/g%d add=%d remove=%d: %s", c.Partition, c.Generation, c.Add, c.Remove, c.Reason)
	case o.MoveLeader != nil:
		return fmt.Sprintf("move leader of p%d to %d: %s", o.MoveLeader.Partition, o.MoveLeader.To, o.MoveLeader.Reason)
	}
	return "?"
}

func responseString(r *kv.AdminResponse) string {
	switch {
	case r.Join != nil:
		return fmt.Sprintf("node %d of cluster %d, which has %d nodes", r.Join.Node, r.Join.ClusterID, len(r.Join.Nodes))
	case r.Topology != nil:
		return "\n" + topologyString(r.Topology)
	case r.Status != nil:
		return "\n" + statusString(r.Status)
	}
	return "ok"
}

func topologyString(t *kv.Topology) string {
	var b strings.Builder
	for _, k := range t.Keyspaces {
		fmt.Fprintf(&b, "  keyspace %d %q %v(%d)\n", k.ID, k.Name, k.Scheme, k.Partitions)
	}
	for _, p := range t.Partitions {
		fmt.Fprintf(&b, "  %s %q..%q leader=%d term=%d\n", descriptorString(p.Descriptor), p.Descriptor.Span.Start, p.Descriptor.Span.End, p.Leader, p.Term)
	}
	for _, n := range t.Nodes {
		fmt.Fprintf(&b, "  %s\n", nodeString(n))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func nodeString(n kv.NodeInfo) string {
	s := fmt.Sprintf("node %d %s %q", n.ID, n.Address, n.Locality)
	if n.Core {
		s += " core"
	}
	if n.Replaced {
		s += " replaced"
	}
	return s
}

func statusString(s *kv.Status) string {
	var b strings.Builder
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "  %s: %v, heard %v ago, %d leaders, %d replicas\n", nodeString(n.Info), n.Liveness, n.LastHeard, n.Leaders, n.Replicas)
	}
	fmt.Fprintf(&b, "  partitions: %+v", s.Partitions)
	for _, u := range s.Unhealthy {
		fmt.Fprintf(&b, "\n  ! %s", u)
	}
	return b.String()
}
