package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// follow is what a read at a replica that does not lead goes by (rule G5). Nothing of it needs a lease:
// below a closed timestamp nothing changes any more but that locks turn into versions.
type follow struct {
	// replica and applied are those by which the node saw that the timestamp is covered. The state that
	// is read must be the same replica's, and not an older one.
	replica kv.ReplicaID
	applied kv.LogIndex
	met     []metLockOf // in the first state that was read, by key
	asked   []kv.Attempt
	fates   []followed
	left    int
}

// metLockOf is a lock that a follower's read has met.
type metLockOf struct {
	key     kv.Key
	attempt int // among those asked about
}

// followed is what an anchor has said to a follower's read.
type followed struct {
	known  bool
	commit kv.Timestamp // 0: undecided, or above the read's timestamp
}

// followLocksMax bounds the locks that one read of a follower may meet: beyond it the leader answers,
// which has them in memory.
const followLocksMax = 1024

// FollowerTask is a read of a replica that does not lead, at a timestamp that is closed there with an
// index that it has applied. Its result is the answer, unless Questions says otherwise.
func FollowerTask(id RequestID, q *kv.Request, at, heard kv.Timestamp, replica kv.ReplicaID, applied kv.LogIndex) *ReadTask {
	t := &ReadTask{
		Request: id, Partition: q.Partition, Serve: true, Read: q.Read, Scan: q.Scan, At: at, heard: heard,
		follow: &follow{replica: replica, applied: applied},
	}
	if q.Trace {
		t.timer = &timer{}
	}
	return t
}

// On says to those who ask where the time goes on which node the task is.
func (t *ReadTask) On(node kv.NodeID) {
	if t.timer != nil {
		t.timer.spent.Node = node
	}
}

// Follows reports whether the task was made by FollowerTask.
func (t *ReadTask) Follows() bool { return t.follow != nil }

// Unanswered reports whether the result is no answer yet: the read has met locks.
func (t *ReadTask) Unanswered(res *ReadResult) bool { return len(res.met) > 0 }

// executeFollower reads if there is no lock in the way, or their anchors were asked. A lock that was not
// in the first state is ignored: its entry lies above the closed index, so its transaction had not
// prepared when the timestamp was drawn.
func (t *ReadTask) executeFollower(r *mvcc.Reader) *ReadResult {
	f := t.follow
	applied, err := r.Applied(t.Partition)
	if err != nil {
		return failed(err)
	}
	kept, ok := r.Replica(t.Partition)
	if !ok || kept.Replica != f.replica || applied < f.applied {
		return failed(leftNode(t.Partition))
	}
	if err := t.checkFollower(&kept); err != nil {
		return failed(err)
	}
	if f.asked == nil && !invariant.Mutated(invariant.FollowerIgnoresLock) {
		locks, err := t.exclusiveLocks(r)
		if err != nil {
			return failed(err)
		}
		if len(locks) > 0 {
			return &ReadResult{met: locks}
		}
	}
	if t.Read != nil {
		return t.executeRead(r, r)
	}
	return t.executeScan(r)
}

// checkFollower insists on what a leader insists on, by the applied state.
func (t *ReadTask) checkFollower(kept *mvcc.Retained) error {
	applied := &leader{Partition: &Partition{id: t.Partition}, desc: kept.Descriptor, retained: retained{gc: kept.GC}}
	var err *kv.Error
	if t.Read != nil {
		err = applied.checkRead(t.Read)
	} else {
		err = applied.checkScan(t.Scan)
	}
	if err != nil {
		return err
	}
	return nil
}

// exclusiveLocks are the locks of a state that the read meets, by key, without their values.
func (t *ReadTask) exclusiveLocks(r *mvcc.Reader) (locks []mvcc.Lock, err error) {
	add := func(k *mvcc.Lock) error {
		if ignoredByFollower(k, t.At) {
			return nil
		}
		k.Value = nil
		locks = append(locks, *k)
		return nil
	}
	if t.Scan != nil {
		err = r.ExclusiveLocks(t.Scan.Span, followLocksMax+1, add)
		return locks, err
	}
	for _, key := range t.Read.Keys {
		k, ok, err := r.LockOn(key)
		if err != nil {
			return nil, err
		}
		if ok {
			_ = add(k)
		}
	}
	return locks, nil
}

// Questions are what the anchors of the locks that the read has met must be asked, one for each
// transaction; Answered takes the answers. It reports false if the leader must answer.
func (t *ReadTask) Questions(res *ReadResult) ([]*kv.Request, bool) {
	f := t.follow
	if len(res.met) > followLocksMax {
		return nil, false
	}
	numbers := make(map[kv.TxID]int)
	var qs []*kv.Request
	for i := range res.met {
		k := &res.met[i]
		n, ok := numbers[k.ID]
		if !ok {
			n = len(f.asked)
			numbers[k.ID] = n
			f.asked = append(f.asked, k.Attempt)
			qs = append(qs, &kv.Request{Partition: k.Partition, Outcome: &kv.OutcomeOf{
				ID: k.ID, Term: k.Term, AsOf: k.AsOf, Anchor: k.Anchor, Ask: kv.AskRead, At: t.At,
			}})
		}
		f.met = append(f.met, metLockOf{key: k.Key, attempt: n})
	}
	f.fates, f.left = make([]followed, len(f.asked)), len(f.asked)
	return qs, true
}

// Answered takes the answer to question i (rules D8a, D8b). It reports false if the leader must answer: the anchor
// cannot be asked, or has no record, which proves nothing here, since this replica may only not have
// applied yet what removed the lock (rules E7, G5).
func (t *ReadTask) Answered(i int, resp *kv.Response, err *kv.Error) bool {
	f := t.follow
	switch {
	case f.fates[i].known:
		return true
	case noRecord(resp, err) && invariant.Mutated(invariant.NoRecAbortedF):
		resp = &kv.Response{}
	case err != nil, resp.Outcome == kv.OutcomeAborted:
		return false
	}
	f.left--
	f.fates[i].known = true
	if resp.Outcome == kv.OutcomeCommitted && resp.Timestamp <= t.At {
		f.fates[i].commit = resp.Timestamp
	}
	return true
}

// noRecord reports whether an anchor says that it has no record of a transaction, or none any more.
func noRecord(resp *kv.Response, err *kv.Error) bool {
	return err == nil && resp.Outcome == kv.OutcomeAborted || err != nil && err.Kind == kv.Expired
}

// Again is the same read with what the anchors have said; false: not all have answered.
func (t *ReadTask) Again() (*ReadTask, bool) {
	f := t.follow
	if f.left > 0 {
		return nil, false
	}
	again := *t
	for _, k := range f.met {
		if c := f.fates[k.attempt].commit; c != 0 {
			again.Candidates = append(again.Candidates, Candidate{Key: k.key, ID: f.asked[k.attempt].ID, Timestamp: c})
		}
	}
	return &again, true
}
