package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// smallTables make Pebble's structure rich with little data.
func smallTables(p *pebble.Options) {
	for i := range p.Levels {
		p.Levels[i].BlockSize = 64
		p.Levels[i].IndexBlockSize = 128
	}
	p.TargetFileSizes[0] = 1 << 10
	p.LBaseMaxBytes = 8 << 10
	p.FlushSplitBytes = 1 << 10
}

var optionSets = []struct {
	name string
	opts Options
}{
	{"deterministic", Options{Deterministic: true}},
	{"deterministic small tables", Options{Deterministic: true, tune: smallTables, BlobValueBytes: 20}},
	{"small tables", Options{tune: smallTables, CacheBytes: 1 << 20}},
	{"tiny memtables", Options{MemTableBytes: 128 << 10, BlobValueBytes: 20, tune: func(p *pebble.Options) {
		smallTables(p)
		p.DebugCheck = pebble.DebugCheckLevels
	}}},
	{"defaults", Options{CacheBytes: 8 << 20, BlobValueBytes: -1}},
}

func TestMetamorphic(t *testing.T) {
	seeds, steps := 3, 500
	if testing.Short() {
		seeds, steps = 1, 300
	}
	for _, o := range optionSets {
		t.Run(o.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				runMetamorphic(t, o.opts, seed, steps)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// run is a store under test beside its model.
type run struct {
	*testing.T
	rng     *rand.Rand
	opts    Options
	fs      *MemFS
	e       *Engine
	m       *model
	clock   kv.Timestamp
	history []*model // states since the last that is surely durable, that one first
	view    *Reader  // held open for a while
	viewed  *model
}

const testDir = "store"

func runMetamorphic(t *testing.T, o Options, seed uint64, steps int) {
	r := &run{T: t, rng: rand.New(rand.NewPCG(seed, 7)), opts: o, fs: NewMemFS(), m: newModel(), clock: 10}
	r.opts.Dir = testDir
	r.open()
	r.history = []*model{r.m.clone()}
	r.create(2)
	r.create(3)
	for range steps {
		r.step()
		if t.Failed() {
			return
		}
	}
	r.closeView()
	r.check(r.e.Close())
}

func (r *run) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *run) open() {
	r.opts.FS = r.fs
	e, err := Open(r.opts)
	r.check(err)
	r.e = e
}

func (r *run) step() {
	p := kv.PartitionID(2 + r.rng.IntN(2))
	switch n := r.rng.IntN(100); {
	case n < 40:
		r.write(p)
	case n < 50:
		r.get(r.m)
	case n < 58:
		r.scan(r.m)
	case n < 63:
		r.locks(r.m)
	case n < 68:
		r.validate(r.m)
	case n < 72:
		r.view1()
	case n < 76:
		r.collect(p)
	case n < 84:
		r.flush()
	case n < 87:
		r.crash()
	case n < 89:
		r.reopen()
	case n < 91:
		r.check(r.e.Compact())
	case n < 94:
		r.copy(p)
	case n < 95:
		r.recreate(p)
	case n < 98:
		r.digest(p)
	default:
		r.states()
	}
}

// key draws a full key of a partition: short, of bytes that invite mistakes.
func (r *run) key(p kv.PartitionID) kv.Key {
	alphabet := []byte{0x00, 0x01, 0x09, 'a', 0xff}
	user := make([]byte, r.rng.IntN(4))
	for i := range user {
		user[i] = alphabet[r.rng.IntN(len(alphabet))]
	}
	return kv.MakeKey(kv.KeyspaceID(p), user)
}

func span(p kv.PartitionID) kv.Span {
	return kv.Keyspace{ID: kv.KeyspaceID(p)}.Span()
}

func (r *run) subspan(p kv.PartitionID) kv.Span {
	s := span(p)
	if r.rng.IntN(2) == 0 {
		s.Start = r.key(p)
	}
	if r.rng.IntN(2) == 0 {
		s.End = r.key(p)
	}
	return s
}

func (r *run) id() (id kv.TxID) {
	if r.rng.IntN(4) > 0 {
		binary.LittleEndian.PutUint64(id[:], r.rng.Uint64())
	}
	return id
}

func (r *run) value() []byte {
	return bytes.Repeat([]byte{byte(r.rng.IntN(256))}, []int{0, 1, 16, 17, 18, 40, 6000}[r.rng.IntN(7)])
}

// commit ends a step that changed the store: it is numbered, so that a crash can be placed.
func (r *run) commit(b *Batch) {
	r.Helper()
	r.m.step++
	r.check(b.PutSystem("step", binary.AppendUvarint(nil, r.m.step)))
	r.check(b.Commit())
	r.history = append(r.history, r.m.clone())
}

func (r *run) create(p kv.PartitionID) {
	s := ReplicaState{Replica: 1, Applied: 10, AppliedTerm: 5, ConfState: []byte{byte(p)}, GC: 1, Descriptor: kv.Descriptor{
		Partition: p, Keyspace: kv.KeyspaceID(p), Span: span(p), Generation: 1, NextReplica: 2, Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}},
	}}
	r.m.replicas[p] = &modelReplica{state: s, versions: map[string][]Version{}, locks: map[string]Lock{}, records: map[string]Record{}}
	b := r.e.NewBatch()
	r.check(b.SetReplicaState(p, &s))
	r.commit(b)
}

func (r *run) write(p kv.PartitionID) {
	b := r.e.NewBatch()
	m := r.m.replicas[p]
	for range 1 + r.rng.IntN(6) {
		k, id := r.key(p), r.id()
		r.clock += kv.Timestamp(1 + r.rng.IntN(3))
		v := Version{Timestamp: r.clock, ID: id, Tombstone: r.rng.IntN(4) == 0}
		if !v.Tombstone {
			v.Value = r.value()
		}
		for range 1 + r.rng.IntN(2) { // writing a version again changes nothing
			if v.Tombstone {
				r.check(b.Delete(k, v.Timestamp, v.ID))
			} else {
				r.check(b.Put(k, v.Timestamp, v.ID, v.Value))
			}
		}
		m.write(k, v)
	}
	r.writeBeside(b, p)
	m.state.Applied++
	m.state.AppliedTerm += kv.Term(r.rng.IntN(2))
	r.check(b.SetApplied(p, m.state.Applied, m.state.AppliedTerm))
	if r.rng.IntN(4) == 0 {
		m.state.Counters = Counters{Keys: int64(m.state.Applied), Bytes: -3}
		r.check(b.SetCounters(p, m.state.Counters))
	}
	r.commit(b)
}

// writeBeside writes locks, records and system records now and then.
func (r *run) writeBeside(b *Batch, p kv.PartitionID) {
	m := r.m.replicas[p]
	switch r.rng.IntN(8) {
	case 0, 1:
		for range 1 + r.rng.IntN(3) {
			r.lock(b, p)
		}
	case 2:
		a := r.attempt(p)
		rec := Record{Attempt: a, State: RecordCommitted, Timestamp: r.clock, Participants: []Participant{{Partition: 3, Span: span(3)}}}
		at := string(appendRecordKey(nil, rec.Anchor, rec.ID))
		if _, there := m.records[at]; !there {
			r.check(b.PutRecord(&rec))
			m.records[at] = rec
		}
	case 3:
		k := fmt.Sprintf("core/%d", r.rng.IntN(5))
		r.m.system[k] = fmt.Sprint(r.clock)
		r.check(b.PutSystem(k, []byte(r.m.system[k])))
	case 4:
		k := fmt.Sprintf("core/%d", r.rng.IntN(5))
		delete(r.m.system, k)
		r.check(b.DeleteSystem(k))
	case 5:
		r.recordGoesOn(b, p)
	}
	for range r.rng.IntN(3) {
		r.take(b, p)
	}
}

// recordGoesOn overwrites the first record, and mostly removes it then.
func (r *run) recordGoesOn(b *Batch, p kv.PartitionID) {
	m := r.m.replicas[p]
	if len(m.records) == 0 {
		return
	}
	at := sortedKeys(m.records)[0]
	rec := m.records[at]
	if r.rng.IntN(2) == 0 {
		rec.Timestamp++
		r.check(b.ReplaceRecord(&rec))
		m.records[at] = rec
	}
	if r.rng.IntN(3) > 0 {
		r.check(b.DeleteRecord(rec.Anchor, rec.ID))
		delete(m.records, at)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// timestamp draws one that may be read at.
func (r *run) timestamp(m *model, p kv.PartitionID) kv.Timestamp {
	if r.rng.IntN(4) == 0 {
		return MaxTimestamp
	}
	g := m.replicas[p].state.GC
	return g + kv.Timestamp(r.rng.IntN(int(r.clock-g)+3))
}

func (r *run) flush() {
	r.check(r.e.Flush())
	r.history = []*model{r.m.clone()}
	for p, m := range r.m.replicas {
		got, err := r.e.FlushedApplied(p)
		r.check(err)
		if got != m.state.Applied {
			r.Errorf("flushed applied of %d is %d after a flush, want %d", p, got, m.state.Applied)
		}
	}
}

func (r *run) reopen() {
	r.closeView()
	r.check(r.e.Close())
	r.open()
	r.history = []*model{r.m.clone()}
	r.states()
}

// crash keeps what was synced. Whatever survived is a state that the store was in.
func (r *run) crash() {
	flushed := map[kv.PartitionID]kv.LogIndex{}
	r.check(r.e.FlushedReplicaStates(func(p kv.PartitionID, applied kv.LogIndex, _ kv.Term) { flushed[p] = applied }))
	r.closeView()
	fs := CrashClone(r.fs)
	r.check(r.e.Abandon())
	r.fs = fs
	r.open()
	step := uint64(0)
	if b, ok, err := r.e.SystemGet("step"); err != nil {
		r.Fatal(err)
	} else if ok {
		step, _ = binary.Uvarint(b)
	}
	first := r.history[0].step
	if step < first || step > r.m.step {
		r.Fatalf("after a crash the store is at step %d, durable was %d, newest %d", step, first, r.m.step)
	}
	r.m = r.history[step-first]
	r.history = []*model{r.m.clone()}
	r.states()
	for p, index := range flushed {
		if m := r.m.replicas[p]; m == nil || m.state.Applied < index {
			r.Errorf("partition %d claimed to have flushed index %d, the crash left %v", p, index, m)
		}
	}
	if len(r.m.replicas) < 2 {
		r.create(2)
		r.create(3)
	}
}

// states compares everything that is not a version.
func (r *run) states() {
	got, err := r.e.Replicas()
	r.check(err)
	if len(got) != len(r.m.replicas) {
		r.Errorf("%d replicas, want %d", len(got), len(r.m.replicas))
	}
	for _, s := range got {
		m := r.m.replicas[s.Descriptor.Partition]
		if !reflect.DeepEqual(s, m.state) {
			r.Errorf("state\n%+v, want\n%+v", s, m.state)
		}
		one, ok, err := r.e.ReplicaState(s.Descriptor.Partition)
		if err != nil || !ok || !reflect.DeepEqual(one, s) {
			r.Errorf("state of %d: %v %v %v", s.Descriptor.Partition, one, ok, err)
		}
		r.beside(s.Descriptor.Partition)
		if !r.Failed() {
			r.digest(s.Descriptor.Partition)
		}
	}
	system := map[string]string{}
	r.check(r.e.SystemScan("core/", func(k string, v []byte) error {
		system[k] = string(v)
		return nil
	}))
	if !reflect.DeepEqual(system, r.m.system) {
		r.Errorf("system records %v, want %v", system, r.m.system)
	}
}

func (r *run) beside(p kv.PartitionID) {
	rd, err := r.e.NewReader()
	r.check(err)
	defer rd.Close()
	locks, records := map[string]Lock{}, map[string]Record{}
	r.check(rd.Locks(span(p), func(l *Lock) error {
		locks[string(appendLockKey(nil, l.Key, l.Strength, l.ID))] = *l
		return nil
	}))
	r.check(rd.Records(span(p), func(rec *Record) error {
		records[string(appendRecordKey(nil, rec.Anchor, rec.ID))] = *rec
		return nil
	}))
	m := r.m.replicas[p]
	if !reflect.DeepEqual(locks, m.locks) || !reflect.DeepEqual(records, m.records) {
		r.Errorf("partition %d: locks %v, want %v; records %v, want %v", p, locks, m.locks, records, m.records)
	}
}

func (r *run) recreate(p kv.PartitionID) {
	b := r.e.NewBatch()
	r.check(b.DeleteReplica(p, span(p)))
	delete(r.m.replicas, p)
	r.commit(b)
	r.states()
	// What a filter hides must not come back from under the deletion.
	rd, err := r.e.NewReader()
	r.check(err)
	if k, ts, ok, err := rd.NewestIn(span(p), 0); ok || err != nil {
		r.Errorf("a deleted replica still has %x at %d, %v", k, ts, err)
	}
	rd.Close()
	r.create(p)
}
