package node

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/partition"
)

// follows are the reads of replicas that do not lead which wait for what anchors say (rule G5).
type follows struct {
	open map[RequestID]*follow // never iterated
	list []*follow             // in the order of beginning; ended ones are not open
}

// follow is one of them.
type follow struct {
	id   RequestID
	rep  *replica
	task *partition.ReadTask
	at   kv.Instant
}

const (
	followsMax = 1 << 14 // waiting at once
	// followTimeout is after how long the leader is named. It is less than what a client waits for a near replica.
	followTimeout = kv.Instant(500 * time.Millisecond)
)

// staleness is what a read says of how old it may be; false: only the leader may answer.
func staleness(req *kv.Request) (at, notBefore kv.Timestamp, ok bool) {
	var s kv.Stale
	switch {
	case req.Read != nil:
		at, s = req.Read.Timestamp, req.Read.Stale
	case req.Scan != nil:
		at, s = req.Scan.Timestamp, req.Scan.Stale
	}
	if at != 0 {
		return at, 0, s.Follower && s.NotBefore == 0
	}
	return 0, s.NotBefore, s.NotBefore != 0
}

// answersAsFollower has a replica that does not lead answer a read, if any replica may. One that has not closed
// enough says so at once and does not wait for a leader: another replica may have.
func (n *Node) answersAsFollower(r *replica, id RequestID, req *kv.Request) bool {
	at, notBefore, ok := staleness(req)
	if !ok {
		return false
	}
	closed := n.closedOn(r)
	if at == 0 && closed >= notBefore {
		at = closed
	}
	if at == 0 || at > closed {
		if r.group.Leads() {
			return false // it is about to serve
		}
		if r.group.LeaderNode() == 0 {
			r.group.Wanted()
		}
		e := n.notClosed(r)
		if req.Trace {
			e.Timing = &kv.Timing{Node: n.id.Node} // it waited for nothing
		}
		n.reply(id, nil, e)
		return true
	}
	t := partition.FollowerTask(id, req, at, n.system.heard, r.group.Replica(), r.group.Applied())
	t.On(n.id.Node)
	n.readFollowing(t)
	return true
}

// notClosed hands a read to another replica, and tells what this one has closed: if that covers the read, only the
// leader can say what became of a lock that it met.
func (n *Node) notClosed(r *replica) *kv.Error {
	e := n.notLeader(r.group)
	e.Closed = n.closedOn(r)
	return e
}

// readFollowing needs neither lease nor proof: what is closed does not change.
func (n *Node) readFollowing(t *partition.ReadTask) {
	n.out.Reads = append(n.out.Reads, &Read{Task: t, Bare: true})
}

// followRead goes on with a read that has met locks: their anchors are asked.
func (n *Node) followRead(r *replica, x *Read) {
	t := x.Task
	questions, ok := t.Questions(x.Result)
	if !ok || len(n.follows.open) >= followsMax {
		n.reply(t.Request, nil, t.Refuse(n.notClosed(r), x.Result))
		return
	}
	f := &follow{id: t.Request, rep: r, task: t, at: n.now}
	n.follows.open[f.id] = f
	n.follows.list = append(n.follows.list, f)
	for i, q := range questions {
		n.callFollowing(f, i, q)
	}
}

// answered brings the answer of one anchor.
func (f *follow) answered(n *Node, i int, resp *kv.Response, err *kv.Error) {
	if n.follows.open[f.id] != f {
		return
	}
	if !f.task.Answered(i, resp, err) {
		f.refuse(n)
		return
	}
	if t, ok := f.task.Again(); ok {
		delete(n.follows.open, f.id)
		t.Waited(time.Duration(n.now - f.at))
		n.readFollowing(t)
	}
}

// refuse hands the read to the leader.
func (f *follow) refuse(n *Node) {
	delete(n.follows.open, f.id)
	f.task.Waited(time.Duration(n.now - f.at))
	n.reply(f.id, nil, f.task.Refuse(n.notClosed(f.rep), nil))
}

// tick ends what waits too long.
func (s *follows) tick(n *Node) {
	for len(s.list) > 0 && (s.open[s.list[0].id] != s.list[0] || n.now-s.list[0].at > followTimeout) {
		f := s.list[0]
		s.list[0], s.list = nil, s.list[1:]
		if s.open[f.id] == f {
			f.refuse(n)
		}
	}
}

// leave answers the reads of a replica that goes.
func (s *follows) leave(n *Node, r *replica) {
	for _, f := range s.list {
		if f.rep == r && s.open[f.id] == f {
			delete(s.open, f.id)
			n.reply(f.id, nil, n.wrongPartition(r.group.Partition()))
		}
	}
}
