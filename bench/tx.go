package bench

import (
	"context"
	"math/rand/v2"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
)

// txWorkload is transactions over several records, with dials for what makes them dear.
type txWorkload struct {
	plain
	run     *run
	tx      Transactor
	hot     int           // records that take part: 0..hot-1
	zipfian *ycsb.Zipfian // nil: all are equally hot
	// byPartition are the records that take part, in order; one list where the target does not
	// tell, or partitions do not matter. No list is empty.
	byPartition [][]uint32
	marks       *marks
	jobs        []*txJob
}

func newTxWorkload(r *run) (*txWorkload, error) {
	w := &txWorkload{run: r, marks: newMarks(r)}
	var err error
	if w.tx, err = transactorOf(r.target); err != nil {
		return nil, err
	}
	var zipf bool
	if w.hot, zipf, err = r.options.Tx.hot(r.options.Keys); err != nil {
		return nil, err
	}
	if zipf {
		w.zipfian = ycsb.NewZipfian(uint64(w.hot), ycsb.Theta)
	}
	return w, w.sort()
}

// sort finds out which records lie together.
func (w *txWorkload) sort() error {
	x := &w.run.options.Tx
	p, known := as[Partitioner](w.run.target)
	if !known && x.Cross != CrossAny && x.Cross > 0 {
		w.run.warnings = append(w.run.warnings, "the target has no partitions: tx-cross has no effect")
	}
	lists, number := [][]uint32{}, map[int]int{}
	var key []byte
	for n := range uint32(w.hot) {
		partition := 0
		if known && x.Cross != CrossAny {
			key = ycsb.AppendKey(key[:0], uint64(n), ycsb.Ordered)
			partition = p.Partition(key)
		}
		i, ok := number[partition]
		if !ok {
			i = len(lists)
			number[partition], lists = i, append(lists, nil)
		}
		lists[i] = append(lists[i], n)
	}
	if known && x.Cross > 0 && len(lists) == 1 {
		return kv.Errorf(kv.Invalid, "all %d records that take part lie in one partition, no transaction can cross partitions: choose a keyspace with more, or tx-cross 0", w.hot)
	}
	for _, l := range lists {
		if needed := (x.Keys + len(lists) - 1) / len(lists); x.Cross > 0 && len(l) < needed || x.Cross >= 0 && x.Cross < 1 && len(l) < x.Keys {
			return kv.Errorf(kv.Invalid, "a partition holds %d of the records that take part, that is too few for transactions of %d keys: use more records", len(l), x.Keys)
		}
	}
	w.byPartition = lists
	return nil
}

func (w *txWorkload) distribution() string {
	if w.zipfian != nil {
		return string(ycsb.ZipfianPlain)
	}
	return string(ycsb.Uniform)
}

func (w *txWorkload) load(ctx context.Context) (*LoadResult, error) {
	return load(ctx, w.run.target, w.run.id, ycsb.Ordered, w.run.options)
}

func (w *txWorkload) job(number int) job {
	j := &txJob{txWorkload: w, marker: w.marks.of(number), rand: rand.New(rand.NewPCG(w.run.options.Seed, uint64(number)))}
	j.order = j.rand.Perm(len(w.byPartition))
	n := w.run.options.Tx.Keys
	j.records, j.keys = make([]uint64, 0, n), make([][]byte, n)
	j.before, j.stamps, j.read = make([]uint64, n), make([]Stamp, n), make([]Stamp, n)
	w.jobs = append(w.jobs, j)
	return j
}

// finish reads back what each worker saw committed.
func (w *txWorkload) finish(ctx context.Context) *AuditResult {
	if w.run.options.Tx.Reads == 1 {
		return nil
	}
	plainly := &recordWorkload{run: w.run, mix: ycsb.Mix{Order: ycsb.Ordered}}
	readers := make([]*recordJob, len(w.jobs))
	for i, j := range w.jobs {
		readers[i] = &recordJob{workload: plainly, marker: j.marker}
	}
	return readBack(ctx, readers)
}

// txJob does one transaction after the other. Its slices run along the keys of one.
type txJob struct {
	*txWorkload
	marker
	rand    *rand.Rand
	order   []int // of partitions, shuffled a little for each transaction
	records []uint64
	keys    [][]byte
	before  []uint64 // the newest own write that must be seen
	read    []Stamp
	stamps  []Stamp
	value   []byte
}

func (j *txJob) operate(ctx context.Context, s *sample) {
	j.choose()
	for i, n := range j.records {
		j.keys[i] = ycsb.AppendKey(j.keys[i][:0], n, ycsb.Ordered)
		j.before[i] = j.ledger.ackedOf(n)
		j.read[i] = Stamp{}
	}
	// A share that is no whole number of keys holds in the mean.
	writes := int(float64(len(j.keys))*(1-j.run.options.Tx.Reads) + j.rand.Float64())
	if writes = min(writes, len(j.keys)); writes == 0 {
		s.kind = snapshot
		s.err = j.view(ctx)
	} else {
		s.kind = transaction
		s.attempts, s.err = j.update(ctx, writes)
	}
	for i := range j.records {
		if s.err == nil && j.read[i] != (Stamp{}) {
			j.inspector.own(j.ledger, j.keys[i], j.read[i], j.before[i])
		}
	}
}

// choose draws the records of a transaction, all different.
func (j *txJob) choose() {
	j.records = j.records[:0]
	x := &j.run.options.Tx
	switch {
	case len(j.byPartition) > 1 && j.rand.Float64() < x.Cross:
		n := min(x.Keys, len(j.order))
		for i := range n {
			k := i + j.rand.IntN(len(j.order)-i)
			j.order[i], j.order[k] = j.order[k], j.order[i]
		}
		for i := range x.Keys {
			j.add(j.byPartition[j.order[i%n]])
		}
	default:
		list := j.byPartition[0]
		if len(j.byPartition) > 1 { // a partition is as likely as it is large
			at := j.rand.IntN(j.hot)
			for _, l := range j.byPartition {
				if list = l; at < len(l) {
					break
				}
				at -= len(l)
			}
		}
		for range x.Keys {
			j.add(list)
		}
	}
}

// draw is a number below hot, by the heat of the records.
func (j *txJob) draw() uint64 {
	if j.zipfian != nil {
		return j.zipfian.Next(j.rand)
	}
	return j.rand.Uint64N(uint64(j.hot))
}

// add draws a record of a list that is not yet among the chosen ones.
func (j *txJob) add(list []uint32) {
	at := int(j.draw() % uint64(len(list)))
	for {
		n := uint64(list[at])
		taken := false
		for _, r := range j.records {
			taken = taken || r == n
		}
		if !taken {
			j.records = append(j.records, n)
			return
		}
		at = (at + 1) % len(list)
	}
}

// view reads all keys at one time.
func (j *txJob) view(ctx context.Context) error {
	_, found, err := j.tx.View(ctx, j.keys, 0)
	if err != nil {
		return err
	}
	return j.check(found)
}

// check looks at what was found at the keys.
func (j *txJob) check(found []Record) error {
	for i, r := range found {
		if r.Version == 0 {
			j.missing(j.keys[i])
			return ErrNotFound
		}
		j.read[i] = Stamp{}
		if s, ok := j.inspector.value(j.keys[i], r.Value); ok {
			j.read[i] = s
		}
	}
	return nil
}

// update reads all keys and writes some, those from a random one on.
func (j *txJob) update(ctx context.Context, writes int) (Attempts, error) {
	first, wrote := j.rand.IntN(len(j.keys)), false
	took, err := j.tx.Update(ctx, func(ctx context.Context, tx Tx) error {
		found, err := tx.GetMany(ctx, j.keys...)
		if err == nil {
			err = j.check(found)
		}
		if err != nil {
			return err
		}
		wrote = true
		for n := range writes {
			i := (first + n) % len(j.keys)
			j.stamps[i] = j.ledger.begin()
			j.value = AppendValue(j.value[:0], j.keys[i], j.stamps[i], j.run.options.ValueBytes)
			tx.Put(j.keys[i], j.value)
		}
		return nil
	})
	for n := range writes {
		if i := (first + n) % len(j.keys); wrote {
			j.written(j.records[i], j.stamps[i], err)
		}
	}
	return took, err
}
