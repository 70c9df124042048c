package core

import (
	"cmp"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Machine is the consistent core on one node: the applied state, and, while the node leads
// the system partition, what its leader knows and does. It belongs to the node's loop.
type Machine struct {
	opts    Options
	sink    Sink
	state   *state
	applied kv.LogIndex // of the newest entry with commands; 0 = none since the start
	lead    *leadership // nil while not leading
}

// leadership is volatile: it begins with Lead and ends with Unlead.
type leadership struct {
	term       kv.Term
	now        kv.Instant // of the last tick
	ticked     bool
	oracle     *oracle
	proposals  map[uint64]*waiting // by number; commands not applied yet that a request waits for
	lastNumber uint64
	waiting    map[RequestID]*waiting
	driver     driver
	holds      holds
}

// New is a machine without any state; see Load.
func New(opts Options, sink Sink) *Machine {
	return &Machine{opts: opts.withDefaults(), sink: sink, state: newState()}
}

// Apply changes the state by one committed entry, in the order of the log. It returns the
// system keys to write, in order. It is deterministic, and all or nothing: an error, of Kind Corruption,
// means that this node cannot go on with the system partition.
func (m *Machine) Apply(index kv.LogIndex, term kv.Term, data []byte) ([]Write, error) {
	invariant.Check(index > m.applied, "entries are applied in order: %d after %d", index, m.applied)
	commands, err := unpackCommands(data)
	if err != nil {
		return nil, err
	}
	m.applied = index
	s := m.state
	s.out = nil
	revision := s.revision
	for _, p := range commands {
		before := len(s.out)
		res := p.command.apply(s)
		if len(s.out) > before {
			s.revision++
		}
		if m.lead != nil {
			m.commandApplied(p, res, term, len(s.out) > before)
		}
	}
	if s.revision != revision {
		s.put(keyRevision, appendNumber(nil, uint64(s.revision)))
	}
	out := s.out
	s.out = nil
	return out, nil
}

// commandApplied tells the leader's side.
func (m *Machine) commandApplied(p proposed, res result, term kv.Term, changed bool) {
	if changed {
		m.stateChanged(res)
	}
	if c, ok := p.command.(*forgetNode); ok && changed {
		delete(m.lead.driver.nodes, c.Node)
	}
	if term != m.lead.term {
		return
	}
	if _, ok := p.command.(*extendBound); ok {
		m.boundApplied()
	}
	if w := m.lead.proposals[p.number]; w != nil && p.number != 0 {
		delete(m.lead.proposals, p.number)
		w.number = 0
		m.requestApplied(w, res)
	}
}

// Lead begins leadership: this node leads the system partition in term, and has applied an
// entry of that term.
func (m *Machine) Lead(term kv.Term) {
	invariant.Check(m.lead == nil, "leadership of term %d begins, but that of the term before has not ended", term)
	m.lead = &leadership{
		term:      term,
		oracle:    newOracle(m.state.bound, m.opts.ClockJumpMax),
		proposals: map[uint64]*waiting{},
		waiting:   map[RequestID]*waiting{},
		driver:    newDriver(),
		holds:     newHolds(m.state.bound),
	}
	m.extend()
	m.startDriver()
}

// Unlead ends leadership: all that wait are answered, and what is volatile is forgotten.
func (m *Machine) Unlead() {
	if m.lead == nil {
		return
	}
	l := m.lead
	m.lead = nil
	for _, id := range sortedKeys(l.waiting) {
		m.sink.Reply(id, nil, kv.Errorf(kv.Ambiguous, "%s: the core's leader changed meanwhile; look whether it is done", l.waiting[id].what))
	}
}

// Leads reports whether the machine is between Lead and Unlead.
func (m *Machine) Leads() bool { return m.lead != nil }

// Tick is the passing of time while leading, every 50 ms or so. now is the node's monotonic
// clock; wallMillis, in milliseconds since the Unix epoch, keeps timestamps near the clock for people.
func (m *Machine) Tick(now kv.Instant, wallMillis int64) {
	if m.lead == nil {
		return
	}
	m.lead.oracle.tick(now, wallMillis)
	m.advance(now)
	m.lead.driver.sendLeft = ordersPerTickMax
	m.extend()
	m.sendOrders()
	m.tickOperators()
	if d := &m.lead.driver; m.lead.now >= d.planAt {
		d.planAt = m.lead.now.Add(m.opts.PlanEvery)
		m.finishKeyspaces()
		m.forgetReplaced()
		m.growCore()
		m.plan()
	}
}

// InitCluster proposes to make the cluster, if it is not made yet: its founders with their ids
// and Core flags, the system partition as SystemDescriptor has it, and the keyspace "default". replicas is how many
// voters a data partition shall have, odd. It may be called again until Initialized.
func (m *Machine) InitCluster(clusterID uint64, founders []kv.NodeInfo, replicas int) error {
	if m.lead == nil || m.state.cluster != nil {
		return nil
	}
	cmd, err := newInitCluster(clusterID, founders, replicas)
	if err != nil {
		return err
	}
	m.propose(cmd)
	return nil
}

// Initialized reports whether InitCluster is applied.
func (m *Machine) Initialized() bool { return m.state.cluster != nil }

// ClusterID is 0 until InitCluster is applied.
func (m *Machine) ClusterID() uint64 {
	if m.state.cluster == nil {
		return 0
	}
	return m.state.cluster.ID
}

// Revision counts the commands that changed something.
func (m *Machine) Revision() kv.Revision { return m.state.revision }

// Bound is the oracle's bound as applied: every timestamp granted is below it.
func (m *Machine) Bound() kv.Timestamp { return m.state.bound }

// Node is one entry of the registry.
func (m *Machine) Node(id kv.NodeID) (kv.NodeInfo, bool) { return m.state.node(id) }

// Nodes is the registry, by id, replaced nodes included.
func (m *Machine) Nodes() []kv.NodeInfo {
	all := make([]kv.NodeInfo, 0, m.state.nodes.Len())
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		all = append(all, n)
		return true
	})
	return all
}

// Descriptor is the newest descriptor of a partition that was applied. It must not be changed.
func (m *Machine) Descriptor(p kv.PartitionID) (*kv.Descriptor, bool) { return m.state.partition(p) }

// Keyspace is the keyspace of a name.
func (m *Machine) Keyspace(name string) (kv.Keyspace, bool) {
	id, ok := m.state.names[name]
	if !ok {
		return kv.Keyspace{}, false
	}
	k, _ := m.state.keyspace(id)
	return k.Keyspace, true
}

// CoreVoters are the nodes that vote in the system partition, by replica id.
func (m *Machine) CoreVoters() []kv.NodeID {
	d, ok := m.state.partition(kv.SystemPartition)
	if !ok {
		return nil
	}
	var all []kv.NodeID
	for _, r := range d.Replicas {
		if r.Role == kv.RoleVoter {
			all = append(all, r.Node)
		}
	}
	return all
}

// propose sends a command that nobody waits for.
func (m *Machine) propose(c command) { m.sink.Propose(encodeCommand(proposed{command: c})) }

// proposeFor sends a command whose result w waits for.
func (m *Machine) proposeFor(w *waiting, c command) {
	m.lead.lastNumber++
	w.number = m.lead.lastNumber
	m.lead.proposals[w.number] = w
	m.sink.Propose(encodeCommand(proposed{number: w.number, command: c}))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
