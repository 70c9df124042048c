package mvcc

import (
	"reflect"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

func (r *run) attempt(p kv.PartitionID) kv.Attempt {
	return kv.Attempt{ID: r.id(), Term: kv.Term(r.rng.IntN(5)), AsOf: r.clock, Age: kv.Age{byte(r.rng.IntN(3))}, Partition: p, Anchor: r.key(p)}
}

// lock writes a lock where none is.
func (r *run) lock(b *Batch, p kv.PartitionID) {
	m := r.m.replicas[p]
	l := Lock{Key: r.key(p), Strength: Strength(1 + r.rng.IntN(2)), Attempt: r.attempt(p)}
	if l.Strength == Shared {
		l.End = l.Key.Next()
	} else if l.Write = kv.WriteKind(1 + r.rng.IntN(2)); l.Write == kv.WritePut {
		l.Value = append([]byte(nil), r.value()...)
	}
	at := string(appendLockKey(nil, l.Key, l.Strength, l.ID))
	_, there := m.locks[at]
	if _, ok := m.lockOn(l.Key); there || ok && l.Strength == Exclusive {
		return
	}
	if len(l.Value) == 0 {
		l.Value = nil
	}
	r.check(b.PutLock(&l))
	m.locks[at] = l
}

// take removes a lock, perhaps of this very batch, in one of the ways there are; a write is resolved mostly.
func (r *run) take(b *Batch, p kv.PartitionID) {
	m := r.m.replicas[p]
	all := sortedKeys(m.locks)
	if len(all) == 0 || r.rng.IntN(5) == 0 {
		l, ok, err := b.TakeLock(r.key(p), Exclusive, kv.TxID{1, 2, 3}) // nobody's
		r.check(err)
		if ok {
			r.Errorf("took a lock that is not there: %+v", l)
		}
		return
	}
	at := all[r.rng.IntN(len(all))]
	want := m.locks[at]
	delete(m.locks, at)
	if r.rng.IntN(4) == 0 {
		r.check(b.DeleteLock(want.Key, want.Strength, want.ID))
	} else {
		got, ok, err := b.TakeLock(want.Key, want.Strength, want.ID)
		r.check(err)
		if !ok || !reflect.DeepEqual(*got, want) {
			r.Errorf("took %+v %v, want %+v", got, ok, want)
		}
	}
	if r.rng.IntN(2) == 0 {
		if _, ok, err := b.TakeLock(want.Key, want.Strength, want.ID); ok || err != nil {
			r.Errorf("a lock was taken twice: %v %v", ok, err)
		}
	}
	if want.Strength == Exclusive && r.rng.IntN(4) > 0 {
		r.resolve(b, p, &want)
	}
}

// resolve writes the version of a lock at any timestamp above G, or one that is there once more.
func (r *run) resolve(b *Batch, p kv.PartitionID, l *Lock) {
	m := r.m.replicas[p]
	g := m.state.GC
	if r.clock == g {
		r.clock++
	}
	v := Version{Timestamp: g + 1 + kv.Timestamp(r.rng.IntN(int(r.clock-g))), ID: l.ID, Value: l.Value, Tombstone: l.Write == kv.WriteDelete}
	if there, ok := m.get(l.Key, v.Timestamp); ok && there.Timestamp > g && (there.Timestamp == v.Timestamp || r.rng.IntN(2) == 0) {
		v = there
	}
	r.check(b.PutResolved(l.Key, v.Timestamp, v.ID, v.Value, v.Tombstone))
	m.resolve(l.Key, v)
}

// locks asks a view for locks and records one by one, and for the exclusive locks of a span.
func (r *run) locks(m *model) {
	rd, done := r.reader(m)
	defer done()
	p := kv.PartitionID(2 + r.rng.IntN(2))
	mr := m.replicas[p]
	for range 5 {
		k := r.key(p)
		want, wantOK := mr.lockOn(k)
		got, ok, err := rd.LockOn(k)
		r.check(err)
		if ok != wantOK || ok && !reflect.DeepEqual(*got, want) {
			r.Errorf("the lock on %x is %+v %v, want %+v %v", k, got, ok, want, wantOK)
		}
	}
	for _, at := range sortedKeys(mr.records) {
		want := mr.records[at]
		got, ok, err := rd.RecordOf(want.Anchor, want.ID)
		r.check(err)
		if !ok || !reflect.DeepEqual(*got, want) {
			r.Errorf("a record is %+v %v, want %+v", got, ok, want)
		}
	}
	if rec, ok, err := rd.RecordOf(r.key(p), kv.TxID{1, 2, 3}); ok || err != nil {
		r.Errorf("a record that is not there: %+v %v", rec, err)
	}
	s, limit := r.subspan(p), r.rng.IntN(4)
	var want, got []Lock
	at := sortedKeys(mr.locks)
	slices.SortFunc(at, func(a, b string) int { return compareKeys([]byte(a), []byte(b)) })
	for _, at := range at {
		if l := mr.locks[at]; l.Strength == Exclusive && s.Contains(l.Key) && (limit == 0 || len(want) < limit) {
			want = append(want, l)
		}
	}
	r.check(rd.ExclusiveLocks(s, limit, func(l *Lock) error {
		got = append(got, *l)
		return nil
	}))
	if !reflect.DeepEqual(got, want) {
		r.Errorf("exclusive locks of %x, at most %d: %+v, want %+v", s, limit, got, want)
	}
}
