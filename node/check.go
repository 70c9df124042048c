package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// DigestTask sums up a partition as of the log entry that asked for it.
type DigestTask struct {
	reader *mvcc.Reader
	span   kv.Span
	gc     kv.Timestamp
	digest Digest
	err    error
}

// Partition is the partition that is summed up.
func (t *DigestTask) Partition() kv.PartitionID { return t.digest.Partition }

// Run is called once, off the loop; it reads the whole partition.
func (t *DigestTask) Run() {
	defer t.reader.Close()
	d, err := t.reader.Digest(t.span, t.gc, ^kv.Timestamp(0))
	t.err = err
	t.digest.Sum = kv.ReplicaDigest{Hash: d.Hash, Keys: d.Keys, Versions: d.Versions}
}

// checks are the comparisons of replicas that this node's leaderships conduct.
type checks struct {
	next uint64
	open []*check
}

// check is one comparison. A replica that a snapshot has carried over the command that asks for sums, or that lost the command's answer in a
// crash or on a broken stream, never answers: then everybody is asked once more, at a new index.
type check struct {
	id      uint64
	request RequestID
	rep     *replica
	term    kv.Term
	desc    *kv.Descriptor
	begun   kv.Instant
	until   kv.Instant
	index   kv.LogIndex
	got     []kv.ReplicaDigest
	attempt
}

// attempt is when the sums were asked for.
type attempt struct {
	vain  bool       // somebody will not answer this time
	again kv.Instant // not before
	pause kv.Instant // from one time to the next: it doubles, since each reads everything
}

const (
	checksMax     = 64                                 // at once
	attemptPause  = kv.Instant(500 * time.Millisecond) // the first
	checkTimeout  = kv.Instant(60 * time.Second)
	checkPatience = kv.Instant(2 * time.Second) // for replicas on nodes that do not answer
)

func (c *check) answered(node kv.NodeID) bool {
	return slices.ContainsFunc(c.got, func(g kv.ReplicaDigest) bool { return g.Node == node })
}

// rest counts the replicas that have not answered and are still members: those on nodes that support this one,
// and those on nodes that do not, that is, are most likely down.
func (n *Node) rest(c *check) (here, gone int) {
	for _, r := range c.desc.Replicas {
		now, member := c.rep.group.Descriptor().ReplicaOn(r.Node)
		switch {
		case c.answered(r.Node):
		case member && now.ID == r.ID && (r.Node == n.id.Node || n.set.Supported(r.Node, c.desc.Partition)):
			here++
		default:
			gone++
		}
	}
	return here, gone
}

// startCheck proposes an entry at which every replica sums itself up.
func (n *Node) startCheck(r *replica, id RequestID) {
	if len(n.system.checks.open) >= checksMax {
		n.adminReply(id, nil, kv.Errorf(kv.Unavailable, "%d checks are under way, the most that may: try again", checksMax))
		return
	}
	c := &check{request: id, rep: r, term: r.term, desc: r.group.Descriptor(), begun: n.now, until: n.now + checkTimeout}
	n.system.checks.open = append(n.system.checks.open, c)
	n.askSums(c)
}

// askSums proposes the command, under an id of its own each time. A replica that restarts may go over the commands of
// earlier leaders again, and send their sums to this one: the id is of this node and of this life.
func (n *Node) askSums(c *check) {
	n.system.checks.next++
	c.id = uint64(n.id.Node)<<checkNodeShift ^ n.id.Incarnation<<24 ^ (n.system.checks.next*kv.LoopsMax + uint64(n.id.Loop))
	c.index, c.got, c.vain = 0, nil, false
	c.pause = max(attemptPause, 2*c.pause)
	c.again = n.now + c.pause
	c.rep.part.ProposeDigest(c.id)
}

// carried notes that a replica jumped to an index.
func (n *Node) carried(from kv.NodeID, p kv.PartitionID, to kv.LogIndex) {
	for _, c := range n.system.checks.open {
		if c.desc.Partition == p && !c.answered(from) && c.index <= to { // not known yet: asked in vain, perhaps
			c.vain = true
		}
	}
}

// unheard notes that messages of a node may be lost.
func (n *Node) unheard(node kv.NodeID) {
	for _, c := range n.system.checks.open {
		if _, ok := c.desc.ReplicaOn(node); ok && !c.answered(node) {
			c.vain = true
		}
	}
}

// checkNodeShift is where the id of a check names the node that asks.
const checkNodeShift = 48

// DigestDone takes back a sum and sends it to the leader, who asked for it.
func (n *Node) DigestDone(now kv.Instant, t *DigestTask) {
	n.at(now)
	r := n.replicas[t.digest.Partition]
	if t.err != nil {
		n.Damaged(n.now, t.digest.Partition, t.err)
		return
	}
	if r == nil {
		return
	}
	d := t.digest
	d.Sum.Node = n.id.Node
	to := r.group.LeaderNode()
	if to == 0 && d.Check != 0 { // between two promises; who asked leads, or wants to know nothing any more
		to = kv.NodeID(d.Check >> checkNodeShift)
	}
	if to != 0 {
		n.send(to, Message{Digest: &d})
	}
}

func (n *Node) digest(from kv.NodeID, d *Digest) {
	if d.Check == 0 {
		n.carried(from, d.Partition, d.Index)
		return
	}
	i := slices.IndexFunc(n.system.checks.open, func(c *check) bool { return c.id == d.Check && c.desc.Partition == d.Partition })
	if i < 0 {
		return
	}
	c := n.system.checks.open[i]
	if c.answered(from) || len(c.got) > 0 && d.Index != c.index {
		return
	}
	d.Sum.Node = from
	c.got, c.index = append(c.got, d.Sum), d.Index
	if len(c.got) == len(c.desc.Replicas) {
		n.finishCheck(i)
	}
}

func (n *Node) finishCheck(i int) {
	c := n.system.checks.open[i]
	n.system.checks.open = slices.Delete(n.system.checks.open, i, i+1)
	a := &kv.CheckAnswer{Partition: c.desc.Partition, Index: c.index, Equal: len(c.got) > 0, Digests: c.got}
	for _, g := range c.got {
		first := c.got[0]
		a.Equal = a.Equal && g.Hash == first.Hash && g.Keys == first.Keys && g.Versions == first.Versions
	}
	for _, r := range c.desc.Replicas {
		if !c.answered(r.Node) {
			a.Digests = append(a.Digests, kv.ReplicaDigest{Node: r.Node, Missing: true})
		}
	}
	slices.SortFunc(a.Digests, func(x, y kv.ReplicaDigest) int { return cmp.Compare(x.Node, y.Node) })
	n.adminReply(c.request, &kv.AdminResponse{Check: a}, nil)
}

// checkTick ends checks whose replicas did not all answer, or whose leadership ended.
func (n *Node) checkTick() {
	for i := 0; i < len(n.system.checks.open); {
		c := n.system.checks.open[i]
		here, gone := n.rest(c)
		switch {
		case !c.rep.leading || c.rep.term != c.term:
			n.system.checks.open = slices.Delete(n.system.checks.open, i, i+1)
			n.adminReply(c.request, nil, n.notLeader(c.rep.group))
		case n.now > c.until, n.now > c.begun+checkPatience && here == 0:
			n.finishCheck(i)
		case c.vain && gone == 0 && n.now >= c.again:
			n.askSums(c)
			i++
		default:
			i++
		}
	}
}
