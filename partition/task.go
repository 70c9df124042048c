package partition

import (
	"strconv"
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// ReadTask is a look at the applied state: in the loop if all of it is at hand (ExecuteAtHand), else by the reader
// pool (Execute). Exactly one of Read, Scan, Evaluation, Lookup, Restore
// and Known is set.
type ReadTask struct {
	Request   RequestID
	Partition kv.PartitionID
	Term      kv.Term
	// Serve says that the result is the answer to Request, if the lease still holds after
	// that (rule D5). Otherwise the result goes to ReadDone.
	Serve bool

	Read       *kv.Read
	Scan       *kv.Scan
	Evaluation *Evaluation
	Lookup     *Lookup
	Restore    *Restore
	Known      *ReadResult // nothing is to be read, but the answer needs the lease

	At kv.Timestamp // Read and Scan: r; txn.Strong: whatever is newest
	// Candidates are locks that may be versions to this read, by key.
	Candidates []Candidate

	heard  kv.Timestamp
	owner  any     // whom ReadDone concerns
	follow *follow // of a replica that does not lead
	timer  *timer  // nil: nobody asks where the time goes
}

// Evaluation is what a commit needs to know of the applied state while it holds its latches.
type Evaluation struct {
	Newest []kv.Key     // the newest version of each is wanted
	Start  kv.Timestamp // versions above it are conflicts in Keys and Spans
	Keys   []kv.ReadMark
	Spans  []kv.Span
}

// Lookup asks whether a commit has happened: an outcome is the version that the commit's id
// wrote at its anchor key, above asOf (rule I9).
type Lookup struct {
	Anchor kv.Key
	ID     kv.TxID
	AsOf   kv.Timestamp
	Sums   []kv.Key // keys whose value at the commit timestamp is a sum to be repeated
}

// ReadResult is what a task has found.
type ReadResult struct {
	Response *kv.Response
	Err      *kv.Error

	Versions []FoundVersion // Evaluation: for each of Newest
	Conflict kv.Key         // Evaluation: a key that was overwritten after Start; nil = none
	Writer   kv.TxID        // who wrote Conflict, if its newest version tells: only a commit's first one does
	// Committed is the commit timestamp that a Lookup found; 0 = none. None is final only
	// for a commit above Horizon, which is that of the same state.
	Committed kv.Timestamp
	Horizon   kv.Timestamp
	Sums      []int64
	Took      time.Duration // to Execute; measured if the task is Timed
	restored  *restored
	met       []mvcc.Lock // of a follower's read, by key
}

// FoundVersion is the newest version of a key. Timestamp 0: it has none.
type FoundVersion struct {
	Timestamp kv.Timestamp
	Value     []byte
	Tombstone bool
}

func (v *FoundVersion) present() bool { return v.Timestamp != 0 && !v.Tombstone }

// Execute is a pure function of the reader. It runs off the loop.
func (t *ReadTask) Execute(r *mvcc.Reader) *ReadResult {
	switch {
	case t.Known != nil:
		return t.Known
	case t.follow != nil:
		return t.executeFollower(r)
	case t.Read != nil:
		return t.executeRead(r, r)
	case t.Scan != nil:
		return t.executeScan(r)
	case t.Evaluation != nil:
		return t.Evaluation.execute(r, r)
	case t.Restore != nil:
		return t.Restore.execute(r)
	default:
		return t.Lookup.execute(r, t.Partition)
	}
}

func failed(err error) *ReadResult { return &ReadResult{Err: kv.AsError(err)} }

// atHandKeysMax bounds what a task looks for in the loop.
const atHandKeysMax = 32

// ExecuteAtHand is Execute for what asks for few keys, if their versions are at hand: it is cheap enough for the
// loop. false: nothing is known, and Execute must be called.
func (t *ReadTask) ExecuteAtHand(n mvcc.Newest) (*ReadResult, bool) {
	v := &atHand{Newest: n}
	var res *ReadResult
	switch e := t.Evaluation; {
	case t.timer != nil || t.follow != nil || len(t.Candidates) > 0: // these are about more than newest versions
		return nil, false
	case t.Known != nil:
		return t.Known, true
	case t.Read != nil && len(t.Read.Keys) <= atHandKeysMax:
		res = t.executeRead(v, nil)
	case e != nil && len(e.Spans) == 0 && len(e.Keys)+len(e.Newest) <= atHandKeysMax:
		res = e.execute(v, nil)
	default:
		return nil, false
	}
	if v.missed {
		return nil, false
	}
	n.Told(v.told)
	return res, true
}

// versions is what a task needs of a view that looks up keys only.
type versions interface {
	Get(k kv.Key, ts kv.Timestamp) (mvcc.Version, bool, error)
	RetainedFrom(p kv.PartitionID) (kv.Timestamp, bool)
}

// atHand notes whether something was not at hand.
type atHand struct {
	mvcc.Newest
	missed bool
	told   int // keys
}

var errNotAtHand = kv.Errorf(kv.Internal, "a version is not at hand: report this")

func (a *atHand) Get(k kv.Key, ts kv.Timestamp) (mvcc.Version, bool, error) {
	v, ok := a.Newest.Get(k, ts)
	if !ok {
		a.missed = true
		return v, false, errNotAtHand
	}
	a.told++
	return v, true, nil
}

// executeRead reads keys. r is needed for Candidates only.
func (t *ReadTask) executeRead(view versions, r *mvcc.Reader) *ReadResult {
	if err := t.checkRetained(view); err != nil {
		return &ReadResult{Err: err}
	}
	resp := &kv.Response{Timestamp: t.At, Found: make([]bool, len(t.Read.Keys)), Term: t.Term, Heard: t.heard}
	for i, k := range t.Read.Keys {
		v, ok, err := view.Get(k, t.At)
		if err != nil {
			return failed(err)
		}
		if len(t.Candidates) > 0 {
			c, err := t.candidate(r, k, v, ok)
			if err != nil {
				return failed(err)
			}
			if c != nil {
				v, ok = *c, true
			}
		}
		if t.At == txn.Strong {
			resp.Timestamp = v.Timestamp
		}
		if ok && !v.Tombstone {
			resp.Found[i] = true
			resp.Rows = append(resp.Rows, kv.Row{Key: k, Value: v.Value, Version: v.Timestamp})
		}
	}
	return &ReadResult{Response: resp}
}

func (t *ReadTask) executeScan(r *mvcc.Reader) *ReadResult {
	if err := t.checkRetained(r); err != nil {
		return &ReadResult{Err: err}
	}
	s := t.Scan
	args := mvcc.ScanArgs{
		Span: s.Span, Timestamp: t.At, Reverse: s.Reverse, KeysOnly: s.KeysOnly, CountOnly: s.CountOnly, Keys: s.Keys, Bytes: s.Bytes,
	}
	page := scanPage{args: args}
	if err := page.read(r, t); err != nil {
		return failed(err)
	}
	resp := &kv.Response{Rows: page.rows, Resume: page.resume, Timestamp: t.At, Term: t.Term, Heard: t.heard}
	if s.CountOnly {
		resp.Count = page.count
	}
	return &ReadResult{Response: resp}
}

// checkRetained compares r with the G of the state that is read, or a newer one (rule D6).
func (t *ReadTask) checkRetained(r versions) *kv.Error {
	if t.At == txn.Strong || invariant.Mutated(invariant.NoGCRead) {
		return nil
	}
	gc, ok := r.RetainedFrom(t.Partition)
	switch {
	case !ok:
		return leftNode(t.Partition)
	case t.At < gc:
		return tooOld(t.Partition, t.At, gc)
	}
	return nil
}

func leftNode(p kv.PartitionID) *kv.Error {
	return kv.Errorf(kv.Unavailable, "partition %d has left this node: ask another one", p)
}

func tooOld(p kv.PartitionID, ts, gc kv.Timestamp) *kv.Error {
	e := kv.Errorf(kv.TooOld, "the timestamp %v is older than what partition %d retains, which begins at %v: begin again with a newer one", ts, p, gc)
	e.Partition, e.Oldest = p, gc
	return e
}

// execute validates. r is needed for Spans only.
func (e *Evaluation) execute(view versions, r *mvcc.Reader) *ReadResult {
	res := &ReadResult{}
	for _, m := range e.Keys {
		v, ok, err := view.Get(m.Key, txn.Strong)
		if err != nil {
			return failed(err)
		}
		if ok && v.Timestamp > e.Start {
			res.Conflict, res.Writer = m.Key, v.ID
			return res
		}
	}
	for _, s := range e.Spans {
		k, _, ok, err := r.NewestIn(s, e.Start)
		if err != nil {
			return failed(err)
		}
		if ok {
			v, _, err := r.Get(k, txn.Strong)
			if err != nil {
				return failed(err)
			}
			res.Conflict, res.Writer = k, v.ID
			return res
		}
	}
	if len(e.Newest) > 0 {
		res.Versions = make([]FoundVersion, len(e.Newest))
	}
	for i, k := range e.Newest {
		v, ok, err := view.Get(k, txn.Strong)
		if err != nil {
			return failed(err)
		}
		if ok {
			res.Versions[i] = FoundVersion{Timestamp: v.Timestamp, Value: v.Value, Tombstone: v.Tombstone}
		}
	}
	return res
}

func (l *Lookup) execute(r *mvcc.Reader, p kv.PartitionID) *ReadResult {
	gc, horizon, ok, err := r.Retained(p)
	if err != nil {
		return failed(err)
	}
	if !ok {
		return failed(leftNode(p))
	}
	res := &ReadResult{Horizon: horizon}
	c, ok, err := r.FindOutcome(l.Anchor, l.ID, l.AsOf)
	if err != nil {
		return failed(err)
	}
	if !ok {
		return res
	}
	res.Committed = c
	for _, k := range l.Sums {
		v, ok, err := r.Get(k, c)
		if err != nil {
			return failed(err)
		}
		if (!ok || v.Timestamp != c) && c <= gc {
			// Overwritten and collected, which the anchor's version was not: as if none were
			// left. asOf < c <= G <= H, so the answer is "expired".
			return &ReadResult{Horizon: horizon}
		}
		sum, bad := strconv.ParseInt(string(v.Value), 10, 64)
		if !ok || v.Timestamp != c || bad != nil {
			return failed(keyError(kv.Corruption, k, "the sum that commit %v wrote at %v is not there", l.ID, c))
		}
		res.Sums = append(res.Sums, sum)
	}
	return res
}
