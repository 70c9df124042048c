package node

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

type applyKind uint8

const (
	applyEntries applyKind = iota
	applyCreate            // a new replica's first state, flushed
	applyInstall           // a snapshot takes the place of what is there
	applyDestroy           // the replica's data and state go
	applyClaim             // a new replica's keys, before anything of it is made
)

// Apply is work against the engine. While it is under way the replica's machine belongs to
// whoever runs it.
type Apply struct {
	kind    applyKind
	rep     *replica
	entries []*raftpb.Entry
	confs   []*raftpb.ConfState // in force after entries[i]; nil for other entries
	writes  [][]core.Write      // of the system partition, by entry
	done    replication.Responses

	state    *mvcc.ReplicaState // claim, create, install: the state to begin with
	holder   kv.PartitionID     // claim: the partition that has some of the keys, 0 = none
	snapshot *Snapshot          // install
	keys     systemKeys         // of the system partition, after its install
	digests  []*DigestTask      // found among the entries
	summary  applied            // of the applied state, after the run; before it only its Counters, newly measured
	reached  reached
	lazy     bool
}

// Lazy reports whether nobody waits to hear that the work is done: the next turn will do.
func (a *Apply) Lazy() bool { return a.lazy }

// Partition is the partition that the work is for.
func (a *Apply) Partition() kv.PartitionID {
	if a.rep != nil {
		return a.rep.group.Partition()
	}
	return a.state.Descriptor.Partition
}

// reached is how far the state machine came.
type reached struct {
	index kv.LogIndex
	term  kv.Term
}

// RunApplies brings the effects into the engine, in order: all entries in one batch, broken
// only where something must stand alone. An error is fatal for the store. While the disk is
// full it calls wait and tries again, until wait says no; nil: a full disk is an error like any other.
func RunApplies(e *mvcc.Engine, applies []*Apply, wait func(error) bool) error {
	r := runner{engine: e, wait: wait}
	for _, a := range applies {
		if err := r.run(a); err != nil {
			return err
		}
	}
	return r.commit()
}

type runner struct {
	engine *mvcc.Engine
	batch  *mvcc.Batch
	flush  bool
	wait   func(error) bool
}

// patiently does something that a full disk refuses without having done any of it.
func (r *runner) patiently(do func() error) error {
	for {
		err := do()
		if kv.KindOf(err) != kv.DiskFull || r.wait == nil || !r.wait(err) {
			return err
		}
	}
}

func (r *runner) open() *mvcc.Batch {
	if r.batch == nil {
		r.batch = r.engine.NewBatch()
	}
	return r.batch
}

func (r *runner) commit() error {
	b := r.batch
	r.batch = nil
	if b != nil {
		err := r.patiently(func() error {
			err := b.Commit()
			if kv.KindOf(err) == kv.DiskFull && invariant.Mutated(invariant.FullDropsApply) {
				b.Discard()
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if r.flush {
		r.flush = false
		return r.patiently(r.engine.Flush)
	}
	return nil
}

func (r *runner) run(a *Apply) error {
	switch a.kind {
	case applyClaim:
		if err := r.commit(); err != nil { // what is made or deleted by now counts
			return err
		}
		var err error
		a.holder, err = r.engine.ClaimSpan(a.state.Descriptor.Partition, a.state.Descriptor.Span)
		return err
	case applyCreate:
		r.flush = true
		return r.open().SetReplicaState(a.state.Descriptor.Partition, a.state)
	case applyInstall:
		if err := r.commit(); err != nil {
			return err
		}
		if err := r.ingest(a); err != nil {
			return err
		}
		return a.readSystem(r.engine)
	case applyDestroy:
		p := a.state.Descriptor.Partition
		if err := r.open().PutSystem(tombstoneKey(p), binary.BigEndian.AppendUint64(nil, uint64(a.state.Replica))); err != nil {
			return err
		}
		if p == kv.SystemPartition {
			if err := r.deleteCore(); err != nil {
				return err
			}
		}
		r.engine.ReleaseSpan(p)
		return r.open().DeleteReplica(p, a.state.Descriptor.Span)
	}
	return r.entries(a)
}

// ingest takes a snapshot in: with DiskFull nothing was done, and it is tried again. There is no way
// back: the log has the intent, and raft counts on the snapshot.
func (r *runner) ingest(a *Apply) error {
	return r.patiently(func() error {
		err := a.snapshot.Sink.Ingest(a.state)
		if kv.KindOf(err) == kv.DiskFull && invariant.Mutated(invariant.IngestErrorIgnored) {
			return nil
		}
		return err
	})
}

func (r *runner) entries(a *Apply) error {
	m := a.rep.machine
	for i, e := range a.entries {
		index := kv.LogIndex(e.GetIndex())
		if index <= m.State().Applied {
			continue // handed out again after a restart (rule 49)
		}
		checks, err := a.entry(i, e, r.open())
		if err != nil {
			return err
		}
		if len(checks) > 0 {
			if err := r.digest(a, index, checks); err != nil {
				return err
			}
		}
	}
	m.SetCounters(a.summary.Counters)
	if err := m.Finish(r.open()); err != nil {
		return err
	}
	s := m.State()
	a.reached = reached{s.Applied, s.AppliedTerm}
	a.summary = summaryOf(s)
	return nil
}

// summaryOf is what the loop keeps of an applied state. What is flushed is known when the
// state was just read from the disk.
func summaryOf(s *mvcc.ReplicaState) applied {
	return applied{gc: s.GC, horizon: s.Horizon, Counters: s.Counters, flushed: s.Applied}
}

// readSystem reads the system partition's keys back, for the state that lives in the loop.
func (a *Apply) readSystem(e *mvcc.Engine) error {
	if a.rep.part != nil {
		return nil
	}
	return e.SystemScan(corePrefix, func(key string, value []byte) error {
		a.keys = append(a.keys, core.Write{Key: key[len(corePrefix):], Value: slices.Clone(value)})
		return nil
	})
}

// deleteCore removes the state of the system partition, whose replica goes.
func (r *runner) deleteCore() error {
	b := r.open()
	return r.engine.SystemScan(corePrefix, func(key string, _ []byte) error { return b.DeleteSystem(key) })
}

// digest takes the engine as it is right after the entry, for a comparison of replicas.
func (r *runner) digest(a *Apply, index kv.LogIndex, checks []uint64) error {
	if err := a.rep.machine.Finish(r.open()); err != nil {
		return err
	}
	if err := r.commit(); err != nil {
		return err
	}
	s := a.rep.machine.State()
	for _, id := range checks {
		reader, err := r.engine.NewReader()
		if err != nil {
			return err
		}
		a.digests = append(a.digests, &DigestTask{
			reader: reader, span: s.Descriptor.Span, gc: s.GC,
			digest: Digest{Partition: s.Descriptor.Partition, Check: id, Index: index, Replica: s.Replica},
		})
	}
	return nil
}

// entry applies one entry. It returns the ids of the checks that the entry asks for.
func (a *Apply) entry(i int, e *raftpb.Entry, b *mvcc.Batch) ([]uint64, error) {
	m := a.rep.machine
	index, term := kv.LogIndex(e.GetIndex()), kv.Term(e.GetTerm())
	data := e.GetData()
	if a.writes != nil {
		for _, w := range a.writes[i] {
			if err := putSystem(b, w); err != nil {
				return nil, err
			}
		}
	}
	if e.GetType() != raftpb.EntryNormal || a.rep.part == nil {
		data = nil // what is not a partition's command was decided in the loop
	}
	res, err := m.Apply(index, term, data, b)
	if err == nil && e.GetType() != raftpb.EntryNormal {
		err = reconfigure(m, a.confs[i], e)
	}
	return res.Digests, err
}

// tombstoneKey is the system key under which the store remembers the newest destroyed replica
// id of a partition.
func tombstoneKey(p kv.PartitionID) string {
	return tombstonePrefix + string(binary.BigEndian.AppendUint64(nil, uint64(p)))
}

// The kinds of system keys: those of the system partition's state, which travel with its
// snapshots, and this store's own.
const (
	corePrefix      = "core/"
	tombstonePrefix = "tombstone/"
)

func putSystem(b *mvcc.Batch, w core.Write) error {
	if w.Value == nil {
		return b.DeleteSystem(corePrefix + w.Key)
	}
	return b.PutSystem(corePrefix+w.Key, w.Value)
}

// reconfigure makes a configuration change part of the applied state.
func reconfigure(m *partition.Machine, conf *raftpb.ConfState, e *raftpb.Entry) error {
	cc := &raftpb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		return kv.Errorf(kv.Corruption, "the configuration change at log index %d cannot be read: %v", e.GetIndex(), err)
	}
	raw, err := proto.Marshal(conf)
	if err != nil {
		return kv.Errorf(kv.Internal, "a configuration has no encoding: %v", err)
	}
	m.SetConfState(raw)
	m.SetDescriptor(replication.NextDescriptor(&m.State().Descriptor, cc, conf))
	return nil
}

// Applied takes back the effects that were run, in order.
func (n *Node) Applied(now kv.Instant, applies []*Apply) {
	n.at(now)
	for _, a := range applies {
		switch a.kind {
		case applyClaim:
			n.claimed(a)
		case applyCreate:
			n.created(a)
		case applyInstall:
			n.installed(a)
		case applyDestroy:
			n.destroyed(a)
		default:
			n.applied(a)
		}
	}
}

func (n *Node) applied(a *Apply) {
	r := a.rep
	if n.replicas[r.group.Partition()] != r {
		for _, d := range a.digests {
			d.reader.Close()
		}
		return
	}
	r.applying.add(a, -1)
	was := r.applied
	r.applied = a.summary
	r.applied.flushed, r.applied.Counters = was.flushed, was.Counters // newer than the apply
	n.outgrown(r)
	n.set.Applied(r.group, a.reached.index, a.reached.term, a.done)
	n.lead(r)
	if a.confs != nil && r.part != nil {
		r.part.SetDescriptor(r.group.Descriptor())
		r.republish = true
		n.news(r)
	}
	if r.leading && r.part != nil {
		r.part.Applied(a.reached.index, a.summary.gc, a.summary.horizon)
	}
	n.readsApplied(r)
	n.out.Digests = append(n.out.Digests, a.digests...)
	if r.doomed {
		n.destroy(r)
	}
}
