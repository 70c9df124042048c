package core

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// setVoters raises the wanted number of voters of the system partition.
type setVoters struct{ Voters int }

func (*setVoters) kind() kind { return kindSetVoters }

func (c *setVoters) appendBody(b []byte) []byte { return binary.AppendUvarint(b, uint64(c.Voters)) }
func (c *setVoters) decodeBody(d *kv.Decoder)   { c.Voters = int(d.Uvarint(kv.ReplicasMax)) }

// apply never lowers the number: a core that lost nodes needs others in their place, not fewer.
func (c *setVoters) apply(s *state) result {
	switch {
	case s.cluster == nil:
		return result{err: notInitialized()}
	case c.Voters%2 == 0 || c.Voters > CoreVotersMax:
		return result{err: kv.Errorf(kv.Invalid, "the core has an odd number of voters, at most %d, not %d", CoreVotersMax, c.Voters)}
	case c.Voters <= s.cluster.Voters:
		return result{}
	}
	cluster := *s.cluster
	cluster.Voters = c.Voters
	s.putCluster(&cluster)
	return result{touched: []kv.PartitionID{kv.SystemPartition}}
}

// steadyIntervals is how many times SuspectAfter a node must be live without a break to count as a
// place for one more voter of the core.
const steadyIntervals = 3

// growCore wants as many voters of the core as there are steady nodes for them: 1 of one or two
// nodes, 3 of three or four, 5 of more. Two nodes keep one voter: two voters need both of
// them, so they survive nothing that one does not, and stand still when either is down.
func (m *Machine) growCore() {
	if m.state.cluster == nil {
		return
	}
	l := m.lead
	steady := 0
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		ns := m.nodeState(n.ID)
		switch {
		case m.liveness(n.ID) != kv.NodeLive || ns.draining() || ns.full():
			ns.steady = false
		case !ns.steady:
			ns.steady, ns.steadySince = true, l.driver.listened
		case l.driver.listened >= ns.steadySince.Add(steadyIntervals*m.opts.SuspectAfter):
			steady++
		}
		return true
	})
	want := placement.Voters(CoreVotersMax, steady)
	if want > m.state.cluster.Voters && l.now >= l.driver.growAt {
		l.driver.growAt = l.now.Add(m.opts.OperatorPause)
		m.propose(&setVoters{Voters: want})
	}
}
