package core

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// waiting is an admin request that is not answered yet.
type waiting struct {
	id     RequestID
	what   string // for people
	number uint64 // of its proposal while that is not applied; else 0

	keyspace string                      // CreateKeyspace: its name
	leaders  map[kv.PartitionID]struct{} // CreateKeyspace: partitions that nobody leads yet
	operator *operator                   // ChangeReplicas
	holds    bool                        // Hold
}

// Admin answers an admin request, at once or later, and exactly once. While not leading it
// answers NotLeader to all but a Topology with Local.
func (m *Machine) Admin(id RequestID, req *kv.AdminRequest) {
	if t := req.Topology; t != nil && (t.Local || m.lead != nil) {
		m.answerTopology(id, t.Keyspace)
		return
	}
	if m.lead == nil {
		m.sink.Reply(id, nil, kv.Errorf(kv.NotLeader, "this node does not lead the core"))
		return
	}
	if err := m.mayWait(id); err != nil {
		m.sink.Reply(id, nil, err)
		return
	}
	switch {
	case m.state.cluster == nil:
		m.sink.Reply(id, nil, notInitialized())
	case req.CreateKeyspace != nil:
		m.createKeyspace(id, req.CreateKeyspace)
	case req.DropKeyspace != nil:
		m.dropKeyspace(id, req.DropKeyspace)
	case req.SetKeyspace != nil:
		m.setKeyspace(id, req.SetKeyspace)
	case req.Hold != nil:
		m.hold(id, req.Hold)
	case req.Join != nil:
		m.join(id, req.Join)
	case req.Status != nil:
		m.sink.Reply(id, &kv.AdminResponse{Status: m.status()}, nil)
	case req.ChangeReplicas != nil:
		m.changeReplicas(id, req.ChangeReplicas)
	default:
		m.sink.Reply(id, nil, kv.Errorf(kv.Invalid, "this request is not for the core: send it to the node or to the partition's leader"))
	}
}

func (m *Machine) mayWait(id RequestID) *kv.Error {
	if len(m.lead.waiting) >= AdminWaitingMax {
		return kv.Errorf(kv.Unavailable, "%d admin requests wait already, which is the limit: try again", AdminWaitingMax)
	}
	if m.lead.waiting[id] != nil {
		return kv.Errorf(kv.Internal, "admin request %d waits already", id)
	}
	return nil
}

// Waiting counts the admin requests without an answer, and the draws that wait for the next bound.
func (m *Machine) Waiting() (requests, draws int) {
	if m.lead == nil {
		return 0, 0
	}
	return len(m.lead.waiting), len(m.lead.oracle.waiting)
}

// Cancel gives up a waiting admin request: it is answered with Timeout, which says what is missing.
// What it has begun goes on.
func (m *Machine) Cancel(id RequestID) {
	if m.lead == nil || m.lead.waiting[id] == nil {
		return
	}
	w := m.lead.waiting[id]
	why := "it is proposed, but not committed yet"
	switch {
	case w.operator != nil:
		why = "the change is ordered, but not done yet"
	case w.holds:
		why = "the core has not shown yet that it can write to its log"
	case w.number == 0:
		why = fmt.Sprintf("it is committed, but %d of its partitions have no leader yet", len(w.leaders))
	}
	m.answer(w, nil, kv.Errorf(kv.Timeout, "%s: %s, and goes on", w.what, why))
}

// answer ends the waiting of a request.
func (m *Machine) answer(w *waiting, resp *kv.AdminResponse, err *kv.Error) {
	l := m.lead
	delete(l.waiting, w.id)
	if w.number != 0 {
		delete(l.proposals, w.number)
	}
	if w.operator != nil {
		w.operator.waiter = nil
	}
	for p := range w.leaders {
		delete(l.driver.awaitingLeader, p)
	}
	m.sink.Reply(w.id, resp, err)
}

func (m *Machine) await(w *waiting) *waiting {
	m.lead.waiting[w.id] = w
	return w
}

func (m *Machine) createKeyspace(id RequestID, r *kv.CreateKeyspace) {
	c, err := m.planKeyspace(r)
	if err != nil {
		m.sink.Reply(id, nil, err)
		return
	}
	w := m.await(&waiting{id: id, what: fmt.Sprintf("create keyspace %q", r.Name), keyspace: r.Name})
	m.proposeFor(w, c)
}

// planKeyspace decides where the partitions of a new keyspace go.
func (m *Machine) planKeyspace(r *kv.CreateKeyspace) (*createKeyspace, *kv.Error) {
	count := r.Partitions
	if r.Scheme == kv.SchemeRange {
		count = len(r.SplitAt) + 1
	}
	if count < 1 || count > kv.HashPartitionsMax {
		return nil, kv.LimitError("the number of partitions of a keyspace", kv.HashPartitionsMax, int64(count), fmt.Sprintf("choose 1 to %d", kv.HashPartitionsMax))
	}
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if err := m.state.mayCreate(r.Name, count); err != nil {
		return nil, err
	}
	nodes, live := m.candidates()
	voters := placement.Voters(m.state.cluster.Replicas, len(nodes))
	if live < voters/2+1 {
		return nil, kv.Errorf(kv.Unavailable, "%d of %d nodes are live: the partitions of keyspace %q would have no quorum; start more nodes", live, len(nodes), r.Name)
	}
	c := &createKeyspace{Name: r.Name, Scheme: r.Scheme, SplitAt: r.SplitAt, Placement: placement.Place(nodes, count, voters), Retention: r.Retention}
	return c, c.check()
}

// requestApplied goes on with a request whose command is applied.
func (m *Machine) requestApplied(w *waiting, res result) {
	switch {
	case res.err != nil:
		m.answer(w, nil, res.err)
	case w.keyspace != "":
		w.leaders = map[kv.PartitionID]struct{}{}
		for _, p := range res.touched {
			w.leaders[p] = struct{}{}
			m.lead.driver.awaitingLeader[p] = w
		}
	case res.node != 0:
		m.answer(w, &kv.AdminResponse{Join: &kv.JoinAnswer{ClusterID: m.state.cluster.ID, Node: res.node, Nodes: m.Nodes()}}, nil)
	default:
		m.answer(w, &kv.AdminResponse{}, nil)
	}
}

// leaderHeard goes on with a CreateKeyspace that waits for the partition to be led.
func (m *Machine) leaderHeard(p kv.PartitionID) {
	w := m.lead.driver.awaitingLeader[p]
	if w == nil {
		return
	}
	delete(m.lead.driver.awaitingLeader, p)
	delete(w.leaders, p)
	if len(w.leaders) == 0 {
		m.answer(w, &kv.AdminResponse{Topology: m.Topology(w.keyspace)}, nil)
	}
}

func (m *Machine) dropKeyspace(id RequestID, r *kv.DropKeyspace) {
	k, ok := m.Keyspace(r.Name)
	if !ok {
		m.sink.Reply(id, nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist: create it first; kvcli keyspace list shows those that do", r.Name))
		return
	}
	w := m.await(&waiting{id: id, what: fmt.Sprintf("drop keyspace %q", r.Name)})
	m.proposeFor(w, &dropKeyspace{Keyspace: k.ID})
}

// join registers a node. A new nonce at the address of a node that is heard right now is more
// likely a wrong address than a wiped disk: that has to wait until the other falls silent.
func (m *Machine) join(id RequestID, r *kv.JoinCluster) {
	if err := checkJoin(r); err != nil {
		m.sink.Reply(id, nil, err)
		return
	}
	var known, occupant kv.NodeInfo
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		if n.Nonce == r.Nonce {
			known = n
		} else if n.Address == r.Address && !n.Replaced && n.Nonce != 0 {
			occupant = n
		}
		return true
	})
	switch {
	case known.ID != 0 && !known.Replaced && known.Address == r.Address && known.Locality == r.Locality:
		m.sink.Reply(id, &kv.AdminResponse{Join: &kv.JoinAnswer{ClusterID: m.state.cluster.ID, Node: known.ID, Nodes: m.Nodes()}}, nil)
		return
	case known.ID == 0 && occupant.ID != 0 && m.liveness(occupant.ID) == kv.NodeLive:
		m.sink.Reply(id, nil, kv.Errorf(kv.Unavailable,
			"node %d at the address %s is live: if this is that node with a new disk, try again in %v; if not, give it an address of its own",
			occupant.ID, r.Address, m.opts.SuspectAfter))
		return
	}
	w := m.await(&waiting{id: id, what: "join of " + r.Address})
	m.proposeFor(w, &join{Address: r.Address, Locality: r.Locality, Nonce: r.Nonce})
}

func checkJoin(r *kv.JoinCluster) *kv.Error {
	switch {
	case r.Address == "":
		return kv.Errorf(kv.Invalid, "a node joins with the address at which others reach it")
	case r.Nonce == 0:
		return kv.Errorf(kv.Invalid, "a node joins with the nonce of its store, which is never 0")
	case len(r.Address) > kv.AddressBytesMax:
		return kv.LimitError("the length of a node's address", kv.AddressBytesMax, int64(len(r.Address)), "use a shorter name")
	case len(r.Locality) > kv.LocalityBytesMax:
		return kv.LimitError("the length of a node's locality", kv.LocalityBytesMax, int64(len(r.Locality)), "use fewer or shorter tiers")
	}
	return nil
}

// changeReplicas makes an operator of an administrator's wish.
func (m *Machine) changeReplicas(id RequestID, r *kv.ChangeReplicas) {
	if err := m.checkChange(r); err != nil {
		m.sink.Reply(id, nil, err)
		return
	}
	w := m.await(&waiting{id: id, what: fmt.Sprintf("change the replicas of partition %d", r.Partition)})
	w.operator = &operator{partition: r.Partition, add: r.Add, remove: r.Remove, reason: "an administrator asked for it", waiter: w}
	m.startOperator(w.operator)
}

func (m *Machine) checkChange(r *kv.ChangeReplicas) *kv.Error {
	d, ok := m.state.partition(r.Partition)
	if !ok || m.state.phase(d) == phaseDropping {
		return kv.Errorf(kv.NotFound, "partition %d does not exist", r.Partition)
	}
	if r.Add == r.Remove {
		return kv.Errorf(kv.Invalid, "name a node to add, or a node to remove, or two different ones")
	}
	if op := m.part(r.Partition).operator; op != nil {
		return kv.Errorf(kv.Unavailable, "partition %d is being changed already (%v): try again", r.Partition, op)
	}
	if r.Add != 0 && m.liveness(r.Add) != kv.NodeLive {
		return kv.Errorf(kv.Unavailable, "node %d cannot take a replica: it is not in the registry, or not live", r.Add)
	}
	if _, has := d.ReplicaOn(r.Remove); r.Remove != 0 && !has {
		return kv.Errorf(kv.NotFound, "partition %d has no replica on node %d", r.Partition, r.Remove)
	}
	if r.Add == 0 && len(d.Replicas) == 1 {
		return kv.Errorf(kv.Invalid, "partition %d has no other replica than that on node %d: add one first", r.Partition, r.Remove)
	}
	return nil
}
