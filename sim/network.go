package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// NetworkFaults are what a network does to single messages. Delays are one way.
type NetworkFaults struct {
	DelayMin, DelayMax ns
	Spike              float64 // probability of a delay of up to SpikeMax more
	SpikeMax           ns
	Break              float64 // probability that a message breaks its stream: what is in flight is lost, both ends hear of it
	Drop               float64 // probability that a message is lost and nobody hears of it
	Double             float64 // probability that a message comes twice
	Reorder            bool    // messages overtake each other
}

// link is one direction between two nodes. Urgent messages overtake the others (L8).
type link struct {
	from, to kv.NodeID
	last     [2]ns  // arrival of the newest message, by lane
	stream   uint64 // of the connection: what an older one carries is lost
	life     uint64 // newest incarnation of the sender that was heard here: its older connections are closed
	cut      ns     // nothing arrives until then
	cutBulk  ns     // nothing but heartbeats arrives until then
	slow     ns     // everything is late until then, by slowBy
	slowBy   ns
	load     linkLoad
}

// linkLoad is what is on its way.
type linkLoad struct{ messages, bytes int64 }

// network is all links.
type network struct {
	w      *World
	faults NetworkFaults
	links  [][]*link // by from-1, to-1
	quiet  bool      // faults are over
}

func newNetwork(w *World, nodes int, f NetworkFaults) *network {
	n := &network{w: w, faults: f}
	for a := range nodes {
		row := make([]*link, nodes)
		for b := range nodes {
			row[b] = &link{from: kv.NodeID(a + 1), to: kv.NodeID(b + 1)}
		}
		n.links = append(n.links, row)
	}
	return n
}

func (n *network) link(from, to kv.NodeID) *link { return n.links[from-1][to-1] }

// delay is one way, without the troubles of a link.
func (n *network) delay() ns {
	d := n.w.between(n.faults.DelayMin, n.faults.DelayMax)
	if !n.quiet && n.w.chance(n.faults.Spike) {
		d += n.w.upTo(n.faults.SpikeMax)
	}
	return d
}

// send takes a message on its way. What a process sends arrives even if it dies meanwhile.
func (n *network) send(from, to kv.NodeID, m *node.Message) {
	if to == 0 || int(to) > len(n.links) {
		return
	}
	raw := node.AppendMessage(nil, m)
	n.w.trace.bytes(raw)
	if m.Raft != nil {
		n.w.traps.sent(n.w, from, to, m.Raft)
		if n.w.traps.silenced(n.w, from, to, m.Raft) {
			return
		}
	}
	if m.Call != nil {
		n.w.traps.called(n.w, from, to, raw, m.Call.Request)
		if n.w.traps.loses(n.w, to, m.Call.Request) || n.w.traps.held(n.w, from, to, raw, m.Call.Request) {
			return
		}
	}
	if from == to {
		n.local(from, raw)
		return
	}
	l := n.link(from, to)
	if !n.quiet && n.w.chance(n.faults.Break) {
		n.breakStreams(from, to)
		return
	}
	if !n.quiet && n.w.chance(n.faults.Drop) {
		return
	}
	lane := 1
	if m.Urgent() {
		lane = 0
	}
	n.carry(l, lane, raw, m)
	if !n.quiet && n.w.chance(n.faults.Double) {
		n.carry(l, lane, raw, m)
	}
}

// local is a message of a node to itself: it comes in a later turn and is never lost.
func (n *network) local(id kv.NodeID, raw []byte) {
	p := n.w.machine(id).process
	n.w.after(us, func() { p.receive(id, raw) })
}

func (n *network) carry(l *link, lane int, raw []byte, m *node.Message) {
	d := n.delay()
	if n.w.now < l.slow {
		d += l.slowBy
	}
	at := n.w.now + d
	if !n.faults.Reorder || n.quiet {
		at = max(at, l.last[lane])
	}
	l.last[lane] = max(l.last[lane], at)
	if n.w.trace.lines {
		n.w.trace.line("send %d>%d due +%dus %s", l.from, l.to, (at-n.w.now)/us, describe(m))
	}
	stream, life, target := l.stream, n.w.machine(l.from).incarnation, n.w.machine(l.to).process
	if target == nil {
		return
	}
	l.load.messages++
	l.load.bytes += int64(len(raw))
	n.w.after(at-n.w.now, func() {
		l.load.messages--
		l.load.bytes -= int64(len(raw))
		if l.stream != stream || life < l.life || n.w.now < l.cut || lane == 1 && n.w.now < l.cutBulk {
			return
		}
		l.life = life
		target.receive(l.from, raw)
	})
}

// breakStreams ends the connection between two nodes: what is in flight in either direction is
// lost, and both hear of it.
func (n *network) breakStreams(a, b kv.NodeID) {
	n.w.trace.note(11, uint64(a), uint64(b))
	n.w.trace.line("stream %d-%d breaks", a, b)
	n.link(a, b).stream++
	n.link(b, a).stream++
	n.peerLost(a, b)
	n.peerLost(b, a)
}

// peerLost tells a node that its stream to another one is gone.
func (n *network) peerLost(at, lost kv.NodeID) {
	p := n.w.machine(at).process
	if p == nil {
		return
	}
	n.w.after(n.delay(), func() {
		p.every(p.from(lost, 1), func(n *node.Node, now kv.Instant) { n.PeerLost(now, lost) })
	})
}

// disconnect is what the death of a process does to its streams: those who talked to it hear
// of it, and nothing that was sent to it reaches its successor.
func (n *network) disconnect(id kv.NodeID) {
	for i := range n.links {
		o := kv.NodeID(i + 1)
		if o == id {
			continue
		}
		n.link(o, id).stream++
		n.peerLost(o, id)
	}
}

// cut stops what goes from a to b for a time; bulk spares the heartbeats.
func (n *network) cut(a, b kv.NodeID, d ns, bulk bool) {
	if a == b {
		return
	}
	l := n.link(a, b)
	if bulk {
		l.cutBulk = max(l.cutBulk, n.w.now+d)
	} else {
		l.cut = max(l.cut, n.w.now+d)
	}
	n.w.trace.note(12, uint64(a), uint64(b), uint64(d))
	n.w.trace.line("cut %d>%d for %dms, all but heartbeats %v", a, b, d/ms, bulk)
}

// cutBoth cuts both directions.
func (n *network) cutBoth(a, b kv.NodeID, d ns, bulk bool) {
	n.cut(a, b, d, bulk)
	n.cut(b, a, d, bulk)
}

// slow makes everything from a to b late for a time.
func (n *network) slow(a, b kv.NodeID, d, by ns) {
	l := n.link(a, b)
	l.slow, l.slowBy = n.w.now+d, by
	n.w.trace.note(13, uint64(a), uint64(b), uint64(d), uint64(by))
	n.w.trace.line("slow %d>%d for %dms by %dms", a, b, d/ms, by/ms)
}

// heal ends all faults of the network. Messages that were lost stay lost.
func (n *network) heal() {
	n.quiet = true
	for _, row := range n.links {
		for _, l := range row {
			if n.w.now < l.cut || n.w.now < l.cutBulk {
				n.breakStreams(l.from, l.to) // what is cut for long breaks
			}
			l.cut, l.cutBulk, l.slow = 0, 0, 0
		}
	}
}
