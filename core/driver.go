package core

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// driver is what the leader knows of nodes and partitions from their reports, and the orders
// and operators that are under way.
type driver struct {
	// listened is how long this leader has been listening. It stands still while the leader itself was
	// paused, so that a pause of its own makes nobody silent; node ages are measured on it.
	listened kv.Instant
	planAt   kv.Instant
	growAt   kv.Instant // when more voters of the core may be proposed again
	nodes    map[kv.NodeID]*nodeState
	parts    map[kv.PartitionID]*partitionState

	fresh          []*order // not sent yet
	sent           []*order // by due time; done ones are dropped when they come up
	sendLeft       int      // orders that may be sent before the next tick
	operators      []*operator
	awaitingLeader map[kv.PartitionID]*waiting
	finishing      map[kv.KeyspaceID]kv.Instant // when its keyspaceReady or forgetKeyspace was proposed
}

// nodeState is one node by the last reports of its loops (reported.go).
type nodeState struct {
	leads map[kv.PartitionID]struct{}
	loops []loopState // one at least
	tenure
}

// tenure is what decides whether a node counts for the core's size, or may be forgotten.
type tenure struct {
	steady      bool       // it was live whenever growCore looked
	steadySince kv.Instant // on the listened clock

	said     kv.Timestamp // of a replaced node: the bound when it was last heard; 0 = never
	forgetAt kv.Instant   // of a replaced node: when its forgetting may be proposed again
}

// partitionState is one partition by what was reported and ordered.
type partitionState struct {
	leader   kv.NodeID // 0 = not heard of
	term     kv.Term   // Invariant: the highest heard of
	applied  kv.LogIndex
	size     size
	exist    []kv.ReplicaID // replicas that are known to exist
	gone     []kv.ReplicaID // replicas that are known to be dropped
	damaged  []kv.ReplicaID
	orders   []*order
	operator *operator
	setback  setback
	news     news
}

// size is how much a partition holds, by its leader's last measurement.
type size struct{ keys, bytes, garbage int64 }

// news is a descriptor under way to the applied state.
type news struct {
	generation kv.Generation
	at         kv.Instant
}

// setback is what failed last.
type setback struct {
	why   string     // for people; "" = nothing
	at    kv.Instant // it is told for as long as OperatorPause
	until kv.Instant // no operators before
}

// order is one that is repeated until it is done.
type order struct {
	to      kv.NodeID
	order   Order
	replica kv.ReplicaID
	due     kv.Instant // 0 = at once
	done    bool
}

const (
	listenGapMax = kv.Instant(200 * time.Millisecond) // a longer time between two ticks was a pause of our own
	newsRetry    = kv.Instant(2 * time.Second)        // then a command that changed nothing yet is proposed again
)

func newDriver() driver {
	return driver{
		nodes: map[kv.NodeID]*nodeState{}, parts: map[kv.PartitionID]*partitionState{},
		awaitingLeader: map[kv.PartitionID]*waiting{}, finishing: map[kv.KeyspaceID]kv.Instant{},
	}
}

// startDriver orders what was under way when leadership changed. Silence counts from here.
func (m *Machine) startDriver() {
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		m.nodeState(n.ID)
		return true
	})
	m.state.partitions.Ascend(func(d *kv.Descriptor) bool {
		m.syncOrders(d)
		return true
	})
}

// advance moves the clocks.
func (m *Machine) advance(now kv.Instant) {
	l := m.lead
	d := &l.driver
	if l.ticked {
		d.listened += min(max(now-l.now, 0), listenGapMax)
	} else {
		d.planAt = now.Add(m.opts.SuspectAfter) // first everybody gets the time to report
		for _, o := range d.operators {
			o.progressAt = now
		}
	}
	l.now, l.ticked = now, true
}

func (m *Machine) part(p kv.PartitionID) *partitionState {
	ps := m.lead.driver.parts[p]
	if ps == nil {
		ps = &partitionState{}
		m.lead.driver.parts[p] = ps
	}
	return ps
}

func (m *Machine) nodeState(n kv.NodeID) *nodeState {
	ns := m.lead.driver.nodes[n]
	if ns == nil {
		// A node that just joined, or a leader that just began, has not been silent yet.
		ns = &nodeState{leads: map[kv.PartitionID]struct{}{}, loops: newLoops(1, m.lead.driver.listened)}
		m.lead.driver.nodes[n] = ns
	}
	return ns
}

// liveness of a node that is not in the registry, or replaced, is dead.
func (m *Machine) liveness(n kv.NodeID) kv.Liveness {
	info, ok := m.state.node(n)
	if !ok || info.Replaced {
		return kv.NodeDead
	}
	switch silent := m.silence(n); {
	case silent >= m.opts.DeadAfter:
		return kv.NodeDead
	case silent >= m.opts.SuspectAfter:
		return kv.NodeSuspected
	}
	return kv.NodeLive
}

func (m *Machine) silence(n kv.NodeID) time.Duration {
	return time.Duration(m.lead.driver.listened - m.nodeState(n).heard())
}

// candidates are the nodes that may take the replicas of a new keyspace, with their loads,
// and how many of them are live. Nodes that are silent or draining come last, but they do come: a partition that
// lacks one replica for a while is better off than one that was made with fewer.
func (m *Machine) candidates() (all []placement.Candidate, live int) {
	replicas := m.replicaCounts()
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		if n.Replaced {
			return true
		}
		ns := m.nodeState(n.ID)
		isLive := m.liveness(n.ID) == kv.NodeLive
		if isLive {
			live++
		}
		all = append(all, placement.Candidate{
			Node: n.ID, Locality: n.Locality, Replicas: replicas[n.ID], Leaders: len(ns.leads), Bytes: ns.bytes(),
			Reluctant: !isLive || ns.draining() || ns.full(),
		})
		return true
	})
	return all, live
}

// replicaCounts is by descriptors, not by reports: what is ordered counts at once.
func (m *Machine) replicaCounts() map[kv.NodeID]int {
	n := map[kv.NodeID]int{}
	m.state.partitions.Ascend(func(d *kv.Descriptor) bool {
		for _, r := range d.Replicas {
			n[r.Node]++
		}
		return true
	})
	return n
}

// stateChanged follows a change of the applied state.
func (m *Machine) stateChanged(res result) {
	for _, p := range res.touched {
		d, ok := m.state.partition(p)
		if !ok || m.state.phase(d) == phaseDropping {
			m.stopAwaiting(p)
		}
		if ok {
			m.syncOrders(d)
		} else {
			m.forgetPartition(p)
		}
	}
	m.refreshDamaged(res.touched)
	m.sendOrders()
}

// stopAwaiting answers a CreateKeyspace whose keyspace was dropped meanwhile.
func (m *Machine) stopAwaiting(p kv.PartitionID) {
	if w := m.lead.driver.awaitingLeader[p]; w != nil {
		m.answer(w, nil, kv.Errorf(kv.NotFound, "%s: it was dropped before its partitions had leaders", w.what))
	}
}

// forgetPartition drops what is known of a partition whose record is gone.
func (m *Machine) forgetPartition(p kv.PartitionID) {
	d := &m.lead.driver
	ps := d.parts[p]
	if ps == nil {
		return
	}
	for _, o := range ps.orders {
		o.done = true
	}
	m.setLeader(p, ps, 0)
	delete(d.parts, p)
}

// syncOrders makes the orders of a partition those that its descriptor and its keyspace's
// phase ask for. An order that was sent already and is still right goes on.
func (m *Machine) syncOrders(d *kv.Descriptor) {
	ps := m.lead.driver.parts[d.Partition]
	wanted := m.wantedOrders(d, ps)
	if ps == nil {
		if len(wanted) == 0 {
			return
		}
		ps = m.part(d.Partition)
	}
	isMember := func(r kv.ReplicaID) bool { return d.NodeOf(r) != 0 }
	ps.exist = slices.DeleteFunc(ps.exist, func(r kv.ReplicaID) bool { return !isMember(r) })
	ps.gone = slices.DeleteFunc(ps.gone, func(r kv.ReplicaID) bool { return !isMember(r) })
	old := ps.orders
	ps.orders = nil
	for _, o := range wanted {
		if i := slices.IndexFunc(old, o.same); i >= 0 {
			ps.orders = append(ps.orders, old[i])
			old = slices.Delete(old, i, i+1)
			continue
		}
		ps.orders = append(ps.orders, o)
		m.lead.driver.fresh = append(m.lead.driver.fresh, o)
	}
	for _, o := range old {
		o.done = true
	}
}

// same reports whether a node would do the same for both.
func (o *order) same(p *order) bool {
	sameDrop := (o.order.Drop == nil) == (p.order.Drop == nil)
	sameJoin := (o.order.Join == nil) == (p.order.Join == nil)
	return o.replica == p.replica && o.to == p.to && o.order.Create == p.order.Create && sameDrop && sameJoin &&
		(o.order.Join == nil || o.order.Join.Descriptor == p.order.Join.Descriptor)
}

// wantedOrders may be called with nil for a partition of which nothing is known yet.
func (m *Machine) wantedOrders(d *kv.Descriptor, ps *partitionState) []*order {
	if ps == nil {
		ps = &partitionState{}
	}
	phase := m.state.phase(d)
	var wanted []*order
	for _, r := range d.Replicas {
		o := &order{to: r.Node, replica: r.ID}
		switch {
		case phase == phaseDropping && !slices.Contains(ps.gone, r.ID):
			o.order.Drop = &DropOrder{Partition: d.Partition, Replica: r.ID}
		case phase == phaseDropping || slices.Contains(ps.exist, r.ID):
			continue
		case phase == phaseCreating && d.Generation == 1:
			o.order.Create = d
		case phase == phaseCreating || r.Role == kv.RoleLearner:
			// Also a first replica that was not made before the partition changed: it cannot start
			// from the first configuration any more.
			o.order.Join = &JoinOrder{Descriptor: d, Replica: r.ID}
		default:
			continue
		}
		wanted = append(wanted, o)
	}
	return wanted
}

// sendOrders sends new orders, and again those that are not done in time, up to a limit
// per tick. Nodes that will not answer are passed over, and asked again when they are back.
func (m *Machine) sendOrders() {
	d := &m.lead.driver
	if !m.lead.ticked {
		return // the time is not known yet
	}
	m.sendFrom(&d.fresh)
	m.sendFrom(&d.sent)
}

// sendFrom sends what is due at the head of a queue.
func (m *Machine) sendFrom(queue *[]*order) {
	d := &m.lead.driver
	for len(*queue) > 0 && (*queue)[0].due <= m.lead.now && d.sendLeft > 0 {
		o := (*queue)[0]
		*queue = (*queue)[1:]
		if o.done {
			continue
		}
		if m.liveness(o.to) != kv.NodeDead {
			m.sink.Order(o.to, o.order)
			d.sendLeft--
		}
		o.due = m.lead.now.Add(m.opts.OrderRetry)
		d.sent = append(d.sent, o)
	}
}

// OrderDone learns that a node has done an order, or why it cannot.
func (m *Machine) OrderDone(from kv.NodeID, done OrderDone) {
	if m.lead == nil {
		return
	}
	d, ok := m.state.partition(done.Partition)
	if !ok {
		return
	}
	ps := m.part(done.Partition)
	switch {
	case done.Err != "" && done.Replica == 0:
		if op := ps.operator; op != nil && op.sentTo == from {
			m.failOperator(op, done.Err)
		}
		return
	case d.NodeOf(done.Replica) != from:
		return // of a replica that is no member any more
	case done.Err != "":
		ps.setback.why, ps.setback.at = done.Err, m.lead.now
		return
	case done.Dropped:
		m.markGone(ps, done.Replica)
	default:
		m.markExists(ps, done.Replica)
	}
	ps.setback.why = ""
}

func (m *Machine) markExists(ps *partitionState, r kv.ReplicaID) {
	if !slices.Contains(ps.exist, r) {
		ps.exist = append(ps.exist, r)
	}
	ps.finish(func(o *order) bool { return o.replica == r && o.order.Drop == nil })
}

func (m *Machine) markGone(ps *partitionState, r kv.ReplicaID) {
	if !slices.Contains(ps.gone, r) {
		ps.gone = append(ps.gone, r)
	}
	ps.finish(func(o *order) bool { return o.replica == r && o.order.Drop != nil })
}

func (ps *partitionState) finish(is func(*order) bool) {
	ps.orders = slices.DeleteFunc(ps.orders, func(o *order) bool {
		o.done = o.done || is(o)
		return o.done
	})
}

// finishKeyspaces ends creations whose replicas all exist, and forgets dropped keyspaces
// whose replicas are all gone, but for those on dead nodes: should one of these come back, its report names
// replicas that have no record, and they are dropped then.
func (m *Machine) finishKeyspaces() {
	f := m.lead.driver.finishing
	m.state.keyspaces.Ascend(func(k keyspaceRecord) bool {
		if at, ok := f[k.ID]; k.Phase == phaseReady || ok && m.lead.now-at < newsRetry || m.ordersLeft(k) {
			return true
		}
		f[k.ID] = m.lead.now
		if k.Phase == phaseCreating {
			m.propose(&keyspaceReady{Keyspace: k.ID})
		} else {
			m.propose(&forgetKeyspace{Keyspace: k.ID})
		}
		return true
	})
	for _, id := range sortedKeys(f) {
		if k, ok := m.state.keyspace(id); !ok || k.Phase == phaseReady {
			delete(f, id)
		}
	}
}

// ordersLeft reports whether the keyspace's phase still waits for orders to be done.
func (m *Machine) ordersLeft(k keyspaceRecord) bool {
	left := false
	m.state.partitionsOf(k.Keyspace, func(d *kv.Descriptor) bool {
		ps := m.lead.driver.parts[d.Partition]
		if ps == nil {
			left = true
			return false
		}
		left = slices.ContainsFunc(ps.orders, func(o *order) bool {
			return k.Phase == phaseCreating || m.liveness(o.to) != kv.NodeDead
		})
		return !left
	})
	return left
}
