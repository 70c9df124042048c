package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
)

// mixOf is the mix of a workload. put, get and scan choose records evenly; a scan reads
// 100 records from an ordered key on.
func mixOf(workload string) (ycsb.Mix, error) {
	m := ycsb.Mix{Name: workload, Request: ycsb.Uniform, Order: ycsb.Ordered, ScanMin: 100, ScanMax: 100}
	switch workload {
	case "put":
		m.Shares[ycsb.Update] = 1
		return m, nil
	case "get":
		m.Shares[ycsb.Read] = 1
		return m, nil
	case "scan":
		m.Shares[ycsb.Scan] = 1
		return m, nil
	}
	if letter, ok := strings.CutPrefix(workload, "ycsb-"); ok && slices.Contains(Workloads(), workload) {
		return ycsb.Core(letter)
	}
	return ycsb.Mix{}, noSuchWorkload(workload)
}

// recordWorkload is a mix of operations on single records.
type recordWorkload struct {
	plain
	run     *run
	mix     ycsb.Mix
	records *ycsb.Records
	source  *ycsb.Source
	marks   *marks
	tx      Transactor // nil: the target has none
	jobs    []*recordJob
}

func newRecordWorkload(r *run) (*recordWorkload, error) {
	mix, err := mixOf(r.options.Workload)
	if err != nil {
		return nil, err
	}
	if r.options.Ordered {
		mix.Order = ycsb.Ordered
	}
	w := &recordWorkload{run: r, mix: mix, records: ycsb.NewRecords(uint64(r.options.Keys)), marks: newMarks(r)}
	w.tx, _ = as[Transactor](r.target)
	// A guess, as in the original: as many operations as there are records.
	expected := uint64(float64(r.options.Keys) * mix.Shares[ycsb.Insert])
	w.source, err = ycsb.NewSource(mix, w.records, expected, r.options.Seed)
	return w, err
}

func (w *recordWorkload) distribution() string { return string(w.mix.Request) }

func (w *recordWorkload) load(ctx context.Context) (*LoadResult, error) {
	return load(ctx, w.run.target, w.run.id, w.mix.Order, w.run.options)
}

func (w *recordWorkload) job(number int) job {
	j := &recordJob{workload: w, stream: w.source.Stream(uint64(number)), marker: w.marks.of(number)}
	w.jobs = append(w.jobs, j)
	return j
}

// marks are what all workers have begun to write.
type marks struct {
	run   *run
	begun []atomic.Uint64 // by worker
	stale bool
}

func newMarks(r *run) *marks {
	return &marks{run: r, begun: make([]atomic.Uint64, r.options.Workers), stale: describe(r.target).StaleReads}
}

// of makes the marker of a worker.
func (m *marks) of(number int) marker {
	return marker{
		ledger:    newLedger(m.run.id, uint32(number), &m.begun[number]),
		inspector: &inspector{run: m.run.id, begun: m.begun, stale: m.stale, violations: &m.run.bad},
	}
}

// marker marks what a worker writes, and checks what it reads.
type marker struct {
	ledger    *ledger
	inspector *inspector
}

// written notes how a write ended.
func (m *marker) written(record uint64, s Stamp, err error) {
	switch {
	case err == nil:
		m.ledger.ack(record, s)
	case !errors.Is(err, ErrConflict):
		m.ledger.taint(record)
	}
}

// missing notes a key that is not there. Only records that surely exist are asked for.
func (m *marker) missing(key []byte) {
	if !m.inspector.stale {
		m.inspector.violations.add(violationMissing, "%q was written and is not found", key)
	}
}

// recordJob does the operations of one stream.
type recordJob struct {
	marker
	workload *recordWorkload
	stream   *ycsb.Stream
	key, end []byte // reused; a Target must not keep them
	value    []byte
}

func (j *recordJob) operate(ctx context.Context, s *sample) {
	op := j.stream.Next()
	s.kind = kind(op.Kind)
	j.key = ycsb.AppendKey(j.key[:0], op.Record, j.workload.mix.Order)
	switch op.Kind {
	case ycsb.Read:
		_, s.err = j.read(ctx, op.Record)
	case ycsb.Update:
		s.err = j.put(ctx, op.Record)
	case ycsb.Insert:
		s.err = j.put(ctx, op.Record)
		j.workload.records.Settle(op.Record, s.err == nil)
	case ycsb.Scan:
		s.err = j.scan(ctx, op)
	case ycsb.ReadModifyWrite:
		if j.workload.tx != nil {
			s.attempts, s.err = j.update(ctx, op.Record)
		} else {
			s.attempts, s.err = j.readModifyWrite(ctx, op.Record)
		}
	}
}

// read reads and checks the job's key.
func (j *recordJob) read(ctx context.Context, record uint64) (Record, error) {
	before := j.ledger.ackedOf(record)
	r, err := j.workload.run.target.Get(ctx, j.key)
	switch {
	case errors.Is(err, ErrNotFound):
		j.missing(j.key)
		return r, err
	case err != nil:
		return r, err
	}
	if s, ok := j.inspector.value(j.key, r.Value); ok {
		j.inspector.own(j.ledger, j.key, s, before)
	}
	return r, nil
}

// stamped makes the next value of the job's key.
func (j *recordJob) stamped() Stamp {
	s := j.ledger.begin()
	j.value = AppendValue(j.value[:0], j.key, s, j.workload.run.options.ValueBytes)
	return s
}

func (j *recordJob) put(ctx context.Context, record uint64) error {
	s := j.stamped()
	err := j.workload.run.target.Put(ctx, j.key, j.value)
	j.written(record, s, err)
	return err
}

// recordsEnd is behind the keys of all records: what else a keyspace holds is not looked at.
var recordsEnd = kv.PrefixEnd([]byte(ycsb.KeyPrefix))

// scan reads a row of records. Where the keys are in the order of the records, the end is
// known and given; some stores need it to be quick.
func (j *recordJob) scan(ctx context.Context, op ycsb.Op) error {
	end := recordsEnd
	if j.workload.mix.Order == ycsb.Ordered {
		j.end = ycsb.AppendKey(j.end[:0], op.Record+uint64(op.Length), ycsb.Ordered)
		end = j.end
	}
	found, err := j.workload.run.target.Scan(ctx, j.key, end, op.Length)
	if err != nil {
		return err
	}
	j.inspector.scan(j.key, end, op.Length, found)
	return nil
}

// update reads and writes a record in a transaction.
func (j *recordJob) update(ctx context.Context, record uint64) (Attempts, error) {
	before := j.ledger.ackedOf(record)
	var read, wrote Stamp
	known := false
	took, err := j.workload.tx.Update(ctx, func(ctx context.Context, tx Tx) error {
		found, err := tx.GetMany(ctx, j.key)
		if err != nil {
			return err
		}
		if found[0].Version == 0 {
			j.missing(j.key)
			return ErrNotFound
		}
		read, known = j.inspector.value(j.key, found[0].Value)
		wrote = j.stamped()
		tx.Put(j.key, j.value)
		return nil
	})
	if wrote != (Stamp{}) {
		j.written(record, wrote, err)
	}
	if err == nil && known {
		j.inspector.own(j.ledger, j.key, read, before)
	}
	return took, err
}

// readModifyWrite reads a record and sets it if it has not changed in between, until that
// succeeds or the operation's time is up.
func (j *recordJob) readModifyWrite(ctx context.Context, record uint64) (took Attempts, err error) {
	for {
		took.Made++
		r, err := j.read(ctx, record)
		if err != nil {
			return took, err
		}
		s := j.stamped()
		err = j.workload.run.target.CompareAndSet(ctx, j.key, r.Version, j.value)
		j.written(record, s, err)
		if !errors.Is(err, ErrConflict) {
			return took, err
		}
		took.Aborted++
		if ctx.Err() != nil {
			return took, ctx.Err()
		}
	}
}
