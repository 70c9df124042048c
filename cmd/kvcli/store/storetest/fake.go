// Package storetest holds a Store in memory, for the tests of kvcli: one node, one
// partition a keyspace, a version for every write, and faults on demand.
//
// It never forgets a version and never blocks; it is no model of the cluster's timing.
package storetest

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// Fake is a Store in memory.
type Fake struct {
	*cluster
	keyspace string
}

type cluster struct {
	mu        sync.Mutex
	now       kv.Timestamp
	keyspaces []kv.Keyspace
	data      map[string]*btree.BTreeG[versions] // by keyspace
	outcomes  map[kv.TxID]kv.Outcome
	moves     []kv.MoveLeader
	fault     func(op string, key []byte) error
	checks    map[kv.PartitionID]*kv.CheckAnswer

	transactions map[kv.PartitionID]*kv.TransactionsAnswer
	writes       int
	begun        int // transactions
}

// versions are those of one key, the newest last; one without value is a deletion.
type versions struct {
	key  []byte
	rows []store.Pair
}

// New is an empty cluster with the keyspace "default".
func New() *Fake {
	c := &cluster{
		now:      kv.MakeTimestamp(1_795_500_000_000, 0), // 2026-11-24T06:00:00Z
		data:     map[string]*btree.BTreeG[versions]{},
		outcomes: map[kv.TxID]kv.Outcome{},
		checks:   map[kv.PartitionID]*kv.CheckAnswer{},

		transactions: map[kv.PartitionID]*kv.TransactionsAnswer{},
	}
	f := &Fake{cluster: c, keyspace: "default"}
	if err := f.CreateKeyspace(context.Background(), kv.CreateKeyspace{Name: "default", Scheme: kv.SchemeRange}); err != nil {
		panic(err) // the cluster is empty: the name cannot be taken
	}
	return f
}

// FailWith calls a function before every operation ("get", "put", ...); an error from it
// is the operation's. It may do things of its own, as to stop a clock.
func (c *cluster) FailWith(fault func(op string, key []byte) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
}

// SetOutcome says what Outcome answers.
func (c *cluster) SetOutcome(id kv.TxID, o kv.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[id] = o
}

// SetCheck says what Check answers.
func (c *cluster) SetCheck(a *kv.CheckAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks[a.Partition] = a
}

// SetTransactions says what Transactions answers.
func (c *cluster) SetTransactions(a *kv.TransactionsAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transactions[a.Partition] = a
}

// Moves are the leader moves asked for so far.
func (c *cluster) Moves() []kv.MoveLeader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.moves)
}

// Writes is the number of writes that were carried out.
func (c *cluster) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// methods are the operations that are one request to a partition.
var methods = map[string]string{
	"get": "read", "scan": "scan", "count": "scan", "put": "commit", "del": "commit", "cas": "commit", "add": "commit", "commit": "commit",
}

// note tells a trace of an operation: each is one request of a millisecond, to partition 10 on node 1.
func note(ctx context.Context, op string, err error) {
	t := store.TraceOf(ctx)
	if t == nil || methods[op] == "" {
		return
	}
	r := store.Request{
		Method: methods[op], Role: store.RoleReader, Node: nodes[0].Address, Partition: 10, Start: time.UnixMilli(int64(len(t.Requests()))), Elapsed: time.Millisecond, Err: err,
	}
	if r.Method == "commit" {
		r.Role = store.RoleAnchor
	}
	if e := kv.AsError(err); e != nil && e.Timing != nil {
		r.Spent = e.Timing.Spent
		for i := range e.Timing.Parts {
			p := &e.Timing.Parts[i]
			r.Participants = append(r.Participants, store.Request{
				Method: "prepare", Role: store.RoleParticipant, Node: nodes[p.Node-1].Address, Partition: uint64(p.Partition),
				Start: r.Start, Elapsed: p.Elapsed, Staged: p.Staged, Bytes: 30, Spent: p.Spent,
			})
		}
	}
	if err == nil {
		r.Bytes, r.Timestamp, r.Spent.Storage = 20, kv.MakeTimestamp(1_795_500_000_000, 0), 10*time.Microsecond
	}
	if op == "commit" && err == nil {
		r.Spent = kv.Spent{LockWait: 100 * time.Microsecond, Draw: 200 * time.Microsecond, Consensus: 300 * time.Microsecond}
		r.Participants = []store.Request{{
			Method: "prepare", Role: store.RoleParticipant, Node: nodes[1].Address, Partition: 11, Start: r.Start, Elapsed: 500 * time.Microsecond,
			Bytes: 30, Timestamp: r.Timestamp, Spent: kv.Spent{LockWait: 150 * time.Microsecond, Consensus: 250 * time.Microsecond},
		}}
	}
	t.Add(r)
}

// enter checks context and fault, and locks.
func (f *Fake) enter(ctx context.Context, op string, key []byte) (tree *btree.BTreeG[versions], err error) {
	defer func() { note(ctx, op, err) }()
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if err := fault(op, key); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	tree = f.data[f.keyspace]
	if tree == nil {
		f.mu.Unlock()
		return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist: create it first", f.keyspace)
	}
	return tree, nil
}

// In implements store.Store.
func (f *Fake) In(keyspace string) store.Store { return &Fake{cluster: f.cluster, keyspace: keyspace} }

// Close implements store.Store.
func (f *Fake) Close() error { return nil }

// at is the version of a key that a bound sees.
func (v versions) at(b store.Bound) (store.Pair, bool) {
	for _, r := range slices.Backward(v.rows) {
		if b.At == 0 || r.Version <= b.At {
			return r, r.Value != nil
		}
	}
	return store.Pair{}, false
}

// Get implements store.Data.
func (f *Fake) Get(ctx context.Context, key []byte, b store.Bound) (store.Pair, error) {
	tree, err := f.enter(ctx, "get", key)
	if err != nil {
		return store.Pair{}, err
	}
	defer f.mu.Unlock()
	v, _ := tree.Get(versions{key: key})
	p, ok := v.at(b)
	if !ok {
		return store.Pair{}, store.NotFound(key)
	}
	return p, nil
}

// Scan implements store.Data.
func (f *Fake) Scan(ctx context.Context, r store.Range) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		found, err := f.rows(ctx, "scan", r)
		if err != nil {
			yield(store.Pair{}, err)
			return
		}
		for _, p := range found {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (f *Fake) rows(ctx context.Context, op string, r store.Range) ([]store.Pair, error) {
	tree, err := f.enter(ctx, op, r.Start)
	if err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	var found []store.Pair
	tree.AscendGreaterOrEqual(versions{key: r.Start}, func(v versions) bool {
		if len(r.End) > 0 && bytes.Compare(v.key, r.End) >= 0 {
			return false
		}
		if p, ok := v.at(r.Bound); ok {
			if r.KeysOnly {
				p.Value = nil
			}
			found = append(found, p)
		}
		return true
	})
	if r.Reverse {
		slices.Reverse(found)
	}
	if r.Limit > 0 && len(found) > r.Limit {
		found = found[:r.Limit]
	}
	return found, nil
}

// Count implements store.Data.
func (f *Fake) Count(ctx context.Context, r store.Range) (int64, error) {
	found, err := f.rows(ctx, "count", r)
	return int64(len(found)), err
}

// write adds a version; the lock is held. A nil value deletes.
func (f *Fake) write(tree *btree.BTreeG[versions], key, value []byte) store.Commit {
	f.now++
	f.writes++
	v, _ := tree.Get(versions{key: key})
	v.key = slices.Clone(key)
	v.rows = append(v.rows, store.Pair{Key: v.key, Value: value, Version: f.now})
	tree.ReplaceOrInsert(v)
	id := kv.TxID{15: byte(f.writes), 14: byte(f.writes >> 8), 0: 0xab}
	f.outcomes[id] = kv.OutcomeCommitted
	return store.Commit{Version: f.now, ID: id}
}

// Put implements store.Data.
func (f *Fake) Put(ctx context.Context, key, value []byte) (store.Commit, error) {
	if len(value) > kv.ValueBytesMax {
		return store.Commit{}, kv.LimitError("the length of the value", kv.ValueBytesMax, int64(len(value)), "split it")
	}
	tree, err := f.enter(ctx, "put", key)
	if err != nil {
		return store.Commit{}, err
	}
	defer f.mu.Unlock()
	return f.write(tree, key, append([]byte{}, value...)), nil
}

// Delete implements store.Data.
func (f *Fake) Delete(ctx context.Context, key []byte) (store.Commit, error) {
	tree, err := f.enter(ctx, "del", key)
	if err != nil {
		return store.Commit{}, err
	}
	defer f.mu.Unlock()
	return f.write(tree, key, nil), nil
}

// CompareAndSet implements store.Data.
func (f *Fake) CompareAndSet(ctx context.Context, key []byte, want kv.Expect, value []byte) (store.Commit, error) {
	tree, err := f.enter(ctx, "cas", key)
	if err != nil {
		return store.Commit{}, err
	}
	defer f.mu.Unlock()
	v, _ := tree.Get(versions{key: key})
	p, found := v.at(store.Bound{})
	holds := map[kv.ExpectKind]bool{
		kv.ExpectAbsent:  !found,
		kv.ExpectVersion: found && p.Version == want.Version,
		kv.ExpectValue:   found && bytes.Equal(p.Value, want.Value),
	}
	if !holds[want.Kind] {
		e := &kv.Error{Kind: kv.Expectation, Message: "the key is absent", Key: key}
		if found {
			e.Message, e.Actual = "the key is not as expected", &kv.Row{Key: key, Value: p.Value, Version: p.Version}
		}
		return store.Commit{}, e
	}
	return f.write(tree, key, append([]byte{}, value...)), nil
}

// Add implements store.Data.
func (f *Fake) Add(ctx context.Context, key []byte, delta int64) (int64, store.Commit, error) {
	tree, err := f.enter(ctx, "add", key)
	if err != nil {
		return 0, store.Commit{}, err
	}
	defer f.mu.Unlock()
	v, _ := tree.Get(versions{key: key})
	sum := delta
	if p, ok := v.at(store.Bound{}); ok {
		n, err := strconv.ParseInt(string(p.Value), 10, 64)
		if err != nil {
			return 0, store.Commit{}, kv.Errorf(kv.Invalid, "the value is no decimal integer: add works on those only")
		}
		sum += n
	}
	return sum, f.write(tree, key, strconv.AppendInt(nil, sum, 10)), nil
}

// Outcome implements store.Data.
func (f *Fake) Outcome(ctx context.Context, id kv.TxID) (kv.Outcome, error) {
	if _, err := f.enter(ctx, "outcome", nil); err != nil {
		return kv.OutcomeUnknown, err
	}
	defer f.mu.Unlock()
	return f.outcomes[id], nil
}

// OutcomeOf implements store.Data; a token is "t-" and the id.
func (f *Fake) OutcomeOf(ctx context.Context, token string) (kv.Outcome, error) {
	text, ok := strings.CutPrefix(token, "t-")
	id, err := kv.ParseTxID(text)
	if !ok || err != nil {
		return kv.OutcomeUnknown, kv.Errorf(kv.Invalid, "%q is not a token", token)
	}
	return f.Outcome(ctx, id)
}

// Ambiguous is the error of a write whose answer was lost.
func Ambiguous(id kv.TxID) error {
	return &store.AmbiguousError{Cause: &kv.Error{Kind: kv.Ambiguous, Message: "the answer was lost", ID: id}, Token: "t-" + id.String()}
}
