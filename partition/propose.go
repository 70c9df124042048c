package partition

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// pipeline is the commands on their way to the engine, in order: queued, then in entries that
// are proposed, then in entries that are committed. Those in lazy have no place in the order yet.
type pipeline struct {
	queue     txn.FIFO[queued]
	lazy      txn.FIFO[queued] // to be queued when there is anything else to propose
	proposed  txn.FIFO[entry]
	committed txn.FIFO[entry]
	commands  int // in all four
	bytes     int
	told      bool // Sink.Propose was called since the last TakeProposal
	spare     [][]command
}

// command is something for the log, with what becomes of it.
type command interface {
	// encodedLen is the length of what append appends; it does not change.
	encodedLen() int
	append(dst []byte) []byte
	// taken: it is on its way to the log.
	taken()
	// committed: it is in the log for ever. It reports whether somebody waits until it is applied.
	committed(l *leader) (waits bool)
	// applied: it is in the engine as well.
	applied(l *leader)
}

// queued is a command that is not yet in an entry.
type queued struct {
	command command
	size    int // encoded, in bytes
}

// entry is an entry of the log in flight.
type entry struct {
	index    kv.LogIndex // committed ones
	commands []command
	bytes    int
}

// propose queues a command.
func (l *leader) propose(c command) {
	l.log.queue.Push(l.weigh(c))
	l.tell()
}

// weigh counts a command that is on its way from now on.
func (l *leader) weigh(c command) queued {
	x := queued{c, c.encodedLen()}
	l.log.commands++
	l.log.bytes += x.size
	return x
}

// tell has the node take what is queued.
func (l *leader) tell() {
	if !l.log.told {
		l.log.told = true
		l.sink.Propose(l.Partition)
	}
}

// mark is a command that concerns nobody once it is proposed.
type mark struct{ Command }

func (m *mark) encodedLen() int {
	switch m.kind {
	case commandGC, commandHorizon, commandDigest:
		return timestampBytes
	}
	return len(m.append(nil))
}

func (m *mark) append(dst []byte) []byte { return appendCommand(dst, &m.Command) }
func (m *mark) taken()                   {}
func (m *mark) committed(*leader) bool   { return true }
func (m *mark) applied(*leader)          {}

func (c *commit) encodedLen() int {
	n := uvarintLen(uint64(len(c.req.Writes)))
	for i := range c.req.Writes {
		v, tombstone := c.written(i)
		n += versionLen(c.req.Writes[i].Key, v, tombstone)
	}
	if c.others != nil {
		return n + recordHeaderLen(&c.others.attempt, c.others.where)
	}
	return n + writeHeaderBytes
}

func (c *commit) append(dst []byte) []byte {
	q := c.req
	if c.others != nil {
		dst = appendRecordHeader(dst, commandRecord, &c.others.attempt, c.timestamp, c.others.where)
	} else {
		dst = appendWriteHeader(dst, q.ID, q.AsOf, c.timestamp)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.req.Writes)))
	for i := range c.req.Writes {
		v, tombstone := c.written(i)
		dst = appendVersion(dst, c.req.Writes[i].Key, v, tombstone)
	}
	return dst
}

// TakeProposal encodes queued commands, in order, into the data of one entry of at most
// maxBytes, or of one command if that alone is larger; nil if nothing is queued. From now
// on the entry counts as proposed; it must reach the log, in this order, or the node must stop leading.
func (p *Partition) TakeProposal(maxBytes int) []byte {
	l := p.lead
	if l == nil {
		return nil
	}
	g := &l.log
	g.told = false
	if g.queue.Len() > 0 {
		g.board()
	}
	n, size := g.fitting(maxBytes)
	if n == 0 {
		return nil
	}
	e := entry{commands: g.spareCommands()}
	data := append(make([]byte, 0, size), entryFormat)
	for range n {
		x, _ := g.queue.Pop()
		data = binary.AppendUvarint(data, uint64(x.size))
		data = x.command.append(data)
		e.bytes += x.size
		x.command.taken()
		e.commands = append(e.commands, x.command)
	}
	if len(data) != size {
		violated("the length of an entry is known before: %d, not %d", size, len(data))
	}
	g.proposed.Push(e)
	return data
}

// fitting is how many queued commands go into an entry, and its length.
func (g *pipeline) fitting(maxBytes int) (n, size int) {
	size = 1
	for n < g.queue.Len() {
		b := g.queue.At(n).size
		b += uvarintLen(uint64(b))
		if n > 0 && size+b > maxBytes {
			break
		}
		size += b
		n++
	}
	return n, size
}

// commandListsKeptMax bounds the lists that are kept for reuse.
const commandListsKeptMax = 64

func (g *pipeline) spareCommands() []command {
	if n := len(g.spare); n > 0 {
		s := g.spare[n-1]
		g.spare = g.spare[:n-1]
		return s
	}
	return nil
}

func (g *pipeline) recycle(s []command) {
	clear(s)
	if len(g.spare) < commandListsKeptMax {
		g.spare = append(g.spare, s[:0])
	}
}

// Committed says that the next entry of those taken, in order, is committed under an index. Its
// commits are answered now, before they are applied (rule C6), since reads await them until then. It reports
// whether somebody waits until the entry is applied; if not, that is in no hurry before Sink.Hasten.
func (p *Partition) Committed(term kv.Term, index kv.LogIndex) (waits bool) {
	l := p.lead
	if l == nil || term != l.term {
		return true
	}
	e, ok := l.log.proposed.Pop()
	if !ok {
		violated("what is committed was proposed: entry %d of partition %d", index, p.id)
	}
	e.index = index
	l.log.committed.Push(e)
	for _, c := range e.commands {
		waits = c.committed(l) || waits
	}
	l.run()
	return waits
}

// Applied says that everything up to index is in the engine of this node, with the G and H
// that are in force then. Entries are Committed before.
func (p *Partition) Applied(index kv.LogIndex, gc, horizon kv.Timestamp) {
	l := p.lead
	if l == nil {
		return
	}
	l.retained.applied(gc, horizon)
	g := &l.log
	for g.committed.Len() > 0 && g.committed.At(0).index <= index {
		e, _ := g.committed.Pop()
		g.commands -= len(e.commands)
		g.bytes -= e.bytes
		for _, c := range e.commands {
			c.applied(l)
		}
		g.recycle(e.commands)
	}
	l.run()
}

// SetDescriptor replaces the descriptor once a new one is applied.
func (p *Partition) SetDescriptor(d *kv.Descriptor) {
	if p.lead != nil {
		p.lead.desc = d
	}
}

// ProposeGC queues the command that raises G, the timestamp below which versions may go, to g.
// It reports false if g would be no progress, lies above H, or may still be reached by a commit
// that draws (rule J2).
func (p *Partition) ProposeGC(g kv.Timestamp) bool {
	l := p.lead
	if l == nil || l.restoring || g <= l.retained.gcProposed || g > l.retained.horizonProposed || l.draws.below(g) || l.lockedBelow(g) {
		return false
	}
	if !invariant.Mutated(invariant.GCApplied) {
		l.retained.gcProposed = g // counts at once (rule C3)
	}
	l.propose(&mark{Command{kind: commandGC, Timestamp: g}})
	return true
}

// lockedBelow reports whether a transaction with s below g has or awaits locks; their anchors are asked
// about those that are there (rule J2). A late copy of its Prepare could bring a value back below G.
func (l *leader) lockedBelow(g kv.Timestamp) (found bool) {
	if invariant.Mutated(invariant.ResolveBelowGC) {
		return false
	}
	for _, c := range l.transactions.undecided { // any: the order does not show
		if c <= g {
			return true
		}
	}
	for p := l.transactions.first; p != nil; p = p.next {
		if p.oldest < g {
			found = true
			l.inquire(p, kv.AskQuery)
		}
	}
	return found
}

// ProposeHorizon queues the command that raises H, at or below which outcomes may be forgotten,
// to h. It reports false if h would be no progress or is not OutcomeHorizon in the past (rule I2).
func (p *Partition) ProposeHorizon(h kv.Timestamp) bool {
	l := p.lead
	if l == nil || h <= l.retained.horizonProposed || h.UnixMillis()+kv.OutcomeHorizon.Milliseconds() > p.sink.Heard().UnixMillis() {
		return false
	}
	l.retained.horizonProposed = h
	l.propose(&mark{Command{kind: commandHorizon, Timestamp: h}})
	return true
}

// ProposeDigest queues a marker: each replica is asked for the digest of its state at the
// marker's index. It reports false if this node does not lead.
func (p *Partition) ProposeDigest(id uint64) bool {
	if p.lead == nil {
		return false
	}
	p.lead.propose(&mark{Command{kind: commandDigest, Digest: id}})
	return true
}

// ProposeDescriptor queues a new descriptor in place of the one of a generation; it is applied
// only if that is still in force. It reports false if this node does not lead.
func (p *Partition) ProposeDescriptor(d *kv.Descriptor, replaces kv.Generation) bool {
	if p.lead == nil {
		return false
	}
	p.lead.propose(&mark{Command{kind: commandDescriptor, Descriptor: d, Generation: replaces}})
	return true
}
