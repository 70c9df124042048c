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
}

const (
	checksMax     = 64 // at once
	checkTimeout  = kv.Instant(60 * time.Second)
	checkPatience = kv.Instant(2 * time.Second) // for replicas on nodes that do not answer
)

// restIsGone reports whether all replicas that have not answered are on nodes that do not
// support this one, that is, most likely down.
func (n *Node) restIsGone(c *check) bool {
	for _, r := range c.desc.Replicas {
		answered := slices.ContainsFunc(c.got, func(g kv.ReplicaDigest) bool { return g.Node == r.Node })
		if !answered && (r.Node == n.id.Node || n.set.Supported(r.Node, c.desc.Partition)) {
			return false
		}
	}
	return true
}

// startCheck proposes an entry at which every replica sums itself up.
func (n *Node) startCheck(r *replica, id RequestID) {
	if len(n.system.checks.open) >= checksMax {
		n.adminReply(id, nil, kv.Errorf(kv.Unavailable, "%d checks are under way, the most that may: try again", checksMax))
		return
	}
	n.system.checks.next++
	c := &check{
		id: n.id.Incarnation<<32 | n.system.checks.next*kv.LoopsMax + uint64(n.id.Loop), request: id, rep: r, term: r.term,
		desc: r.group.Descriptor(), begun: n.now, until: n.now + checkTimeout,
	}
	n.system.checks.open = append(n.system.checks.open, c)
	r.part.ProposeDigest(c.id)
}

// DigestDone takes back a sum and sends it to the leader, who asked for it.
func (n *Node) DigestDone(now kv.Instant, t *DigestTask) {
	n.at(now)
	r := n.replicas[t.digest.Partition]
	if r == nil || t.err != nil {
		return
	}
	d := t.digest
	d.Sum.Node = n.id.Node
	if to := r.group.LeaderNode(); to != 0 {
		n.send(to, Message{Digest: &d})
	}
}

func (n *Node) digest(from kv.NodeID, d *Digest) {
	i := slices.IndexFunc(n.system.checks.open, func(c *check) bool { return c.id == d.Check && c.desc.Partition == d.Partition })
	if i < 0 {
		return
	}
	c := n.system.checks.open[i]
	if slices.ContainsFunc(c.got, func(g kv.ReplicaDigest) bool { return g.Node == from }) {
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
		if !slices.ContainsFunc(c.got, func(g kv.ReplicaDigest) bool { return g.Node == r.Node }) {
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
		switch {
		case !c.rep.leading || c.rep.term != c.term:
			n.system.checks.open = slices.Delete(n.system.checks.open, i, i+1)
			n.adminReply(c.request, nil, n.notLeader(c.rep.group))
		case n.now > c.until, n.now > c.begun+checkPatience && n.restIsGone(c):
			n.finishCheck(i)
		default:
			i++
		}
	}
}
