package mvcc

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// reader is the held view if m is its model, else a new one.
func (r *run) reader(m *model) (rd *Reader, done func()) {
	if m == r.viewed {
		return r.view, func() {}
	}
	rd, err := r.e.NewReader()
	r.check(err)
	return rd, rd.Close
}

// view1 holds a view open, reads it or closes it: writes, flushes, copies taken in and garbage
// collections in between must not show.
func (r *run) view1() {
	if r.view == nil {
		rd, err := r.e.NewReader()
		r.check(err)
		r.view, r.viewed = rd, r.m.clone()
		return
	}
	for range 3 {
		r.get(r.viewed)
		r.scan(r.viewed)
		r.locks(r.viewed)
		r.validate(r.viewed)
	}
	if r.rng.IntN(3) == 0 {
		r.closeView()
	}
}

func (r *run) closeView() {
	if r.view != nil {
		r.view.Close()
		r.view, r.viewed = nil, nil
	}
}

func (r *run) get(m *model) {
	rd, done := r.reader(m)
	defer done()
	for range 5 {
		p := kv.PartitionID(2 + r.rng.IntN(2))
		k, ts := r.key(p), r.timestamp(m, p)
		want, wantOK := m.replicas[p].get(k, ts)
		got, ok, err := rd.Get(k, ts)
		r.check(err)
		if wantOK && want.Tombstone && !ok && want.Timestamp <= m.replicas[p].state.GC {
			continue // collected
		}
		if ok != wantOK || !sameVersion(got, want) || (ok && !got.Tombstone && got.Value == nil) {
			r.Errorf("get %x at %d: %+v %v, want %+v %v", k, ts, got, ok, want, wantOK)
		}
	}
}

func (r *run) scan(m *model) {
	rd, done := r.reader(m)
	defer done()
	p := kv.PartitionID(2 + r.rng.IntN(2))
	a := ScanArgs{
		Span: r.subspan(p), Timestamp: r.timestamp(m, p), Reverse: r.rng.IntN(2) == 0,
		KeysOnly: r.rng.IntN(4) == 0, CountOnly: r.rng.IntN(4) == 0,
		Keys: []int{0, 1, 2, 5}[r.rng.IntN(4)], Bytes: []int{0, 1, 30, 7000}[r.rng.IntN(4)],
	}
	examined := []int{ScanExaminedMax, 1, 3}[r.rng.IntN(3)]
	want := m.replicas[p].scan(a.Span, a.Timestamp)
	if a.Reverse {
		slices.Reverse(want)
	}
	total := int64(len(want))
	var count int64
	for first := a.Span; ; {
		rows, resume, n, err := rd.scan(a, examined)
		r.check(err)
		count += n
		want = r.page(a, want, rows, n)
		if r.Failed() {
			return
		}
		if resume == nil {
			break
		}
		if n == 0 && examined > 1000 || !first.Contains(resume) && !a.Reverse {
			r.Fatalf("scan %+v of %d rows stopped at %x after %d", a, total, resume, n)
		}
		if a.Reverse {
			a.Span.End = resume
		} else {
			a.Span.Start = resume
		}
	}
	if count != total {
		r.Errorf("scan %+v counted %d rows, want %d", a, count, total)
	}
}

// page checks one page against what is due, and returns what is due after it.
func (r *run) page(a ScanArgs, want, rows []kv.Row, n int64) []kv.Row {
	if n > int64(len(want)) {
		r.Errorf("scan %+v returned %d rows, due are %d", a, n, len(want))
		return nil
	}
	due := want[:n]
	want = want[n:]
	if a.Keys > 0 && n > int64(a.Keys) {
		r.Errorf("scan %+v returned %d rows", a, n)
	}
	if a.CountOnly {
		if len(rows) != 0 {
			r.Errorf("a count returned %d rows", len(rows))
		}
		return want
	}
	size := 0
	for i, row := range rows {
		size += len(row.Key) + len(row.Value)
		value := due[i].Value
		if a.KeysOnly {
			value = nil
		}
		if !bytes.Equal(row.Key, due[i].Key) || row.Version != due[i].Version || !bytes.Equal(row.Value, value) || !a.KeysOnly && row.Value == nil {
			r.Errorf("scan %+v row %d: %+v, want %+v", a, i, row, due[i])
		}
	}
	if a.Bytes > 0 && n > 1 && size > a.Bytes {
		r.Errorf("scan %+v returned %d bytes", a, size)
	}
	return want
}

// validate is what commits ask: is there anything newer, and what became of a transaction.
func (r *run) validate(m *model) {
	rd, done := r.reader(m)
	defer done()
	p := kv.PartitionID(2 + r.rng.IntN(2))
	s, after := r.subspan(p), r.timestamp(m, p)
	wantK, wantTS, wantOK := m.replicas[p].newestIn(s, after)
	k, ts, ok, err := rd.NewestIn(s, after)
	r.check(err)
	if ok != wantOK || ts != wantTS || !bytes.Equal(k, wantK) {
		r.Errorf("newest in [%x, %x) after %d: %x %d %v, want %x %d %v", s.Start, s.End, after, k, ts, ok, wantK, wantTS, wantOK)
	}
	for _, k := range m.replicas[p].keys(s) {
		for _, v := range m.replicas[p].versions[k] {
			if v.ID.IsZero() {
				continue
			}
			ts, ok, err := rd.FindOutcome(kv.Key(k), v.ID, after)
			r.check(err)
			if want := v.Timestamp > after; ok != want || ok && ts != v.Timestamp {
				r.Errorf("outcome of %v at %x after %d: %d %v, want %d %v", v.ID, k, after, ts, ok, v.Timestamp, want)
			}
		}
	}
}

// digest compares a fingerprint with that of a store that got the same versions another way.
func (r *run) digest(p kv.PartitionID) {
	m := r.m.replicas[p]
	rd, done := r.reader(r.m)
	defer done()
	got, err := rd.Digest(span(p), m.state.GC, MaxTimestamp)
	r.check(err)
	keys, versions := m.collected(m.state.GC)
	if got.Keys != keys || got.Versions != versions {
		r.Errorf("digest %+v, want %d keys, %d versions", got, keys, versions)
	}
	other, err := Open(Options{Dir: testDir, FS: NewMemFS(), Deterministic: true})
	r.check(err)
	b := other.NewBatch()
	for _, k := range sortedKeys(m.versions) {
		for _, v := range slices.Backward(m.versions[k]) {
			if v.Tombstone {
				r.check(b.Delete(kv.Key(k), v.Timestamp, v.ID))
			} else {
				r.check(b.Put(kv.Key(k), v.Timestamp, v.ID, v.Value))
			}
		}
	}
	for _, at := range sortedKeys(m.locks) {
		l := m.locks[at]
		r.check(b.PutLock(&l))
	}
	for _, at := range sortedKeys(m.records) {
		rec := m.records[at]
		r.check(b.PutRecord(&rec))
	}
	r.check(b.Commit())
	rd2, err := other.NewReader()
	r.check(err)
	want, err := rd2.Digest(span(p), m.state.GC, MaxTimestamp)
	r.check(err)
	if got != want {
		r.Errorf("digest of %d is %+v, want %+v", p, got, want)
	}
	rd2.Close()
	r.check(other.Abandon())
}

// collect raises G and collects garbage in small steps, sometimes everything.
func (r *run) collect(p kv.PartitionID) {
	m := r.m.replicas[p]
	m.state.GC += kv.Timestamp(r.rng.IntN(int(r.clock-m.state.GC) + 1))
	m.state.Horizon = m.state.GC
	m.state.Applied++
	b := r.e.NewBatch()
	r.check(b.SetReplicaState(p, &m.state))
	r.commit(b)
	a := GCArgs{Span: span(p), Threshold: m.state.GC, Examined: 1 + r.rng.IntN(30), Deleted: 1 + r.rng.IntN(10), Full: r.rng.IntN(2) == 0}
	for {
		res, err := r.e.CollectGarbage(a)
		r.check(err)
		if res.Versions > a.Deleted+1 {
			r.Errorf("a step deleted %d versions, at most %d were allowed", res.Versions, a.Deleted)
		}
		if res.Resume == nil {
			break
		}
		if rest := r.rng.IntN(40); rest == 0 {
			return // a collection may stop anywhere
		}
		a.Span.Start = res.Resume
	}
	if !a.Full {
		return
	}
	rd, err := r.e.NewReader()
	r.check(err)
	defer rd.Close()
	got, err := rd.Digest(span(p), 0, MaxTimestamp)
	r.check(err)
	if keys, versions := m.collected(m.state.GC); got.Keys != keys || got.Versions != versions {
		r.Errorf("after a full collection below %d: %+v, want %d keys, %d versions", m.state.GC, got, keys, versions)
	}
}

// copy takes a copy of a replica, lets the store go on, and takes the copy in again.
func (r *run) copy(p kv.PartitionID) {
	a := SnapshotArgs{Partition: p, Span: span(p), ChunkBytes: 1 + r.rng.IntN(2000)}
	if r.rng.IntN(2) == 0 {
		a.SystemPrefix = "core/"
	}
	var chunks [][]byte
	src, err := r.e.NewSnapshotSource(a)
	r.check(err)
	was := r.m.clone()
	for {
		if r.rng.IntN(4) == 0 {
			r.write(p)
		}
		c, err := src.Next()
		r.check(err)
		if c == nil {
			break
		}
		chunks = append(chunks, c)
	}
	state := src.State()
	src.Close()
	r.write(p)
	if r.rng.IntN(2) == 0 {
		r.check(r.e.Flush())
	}
	state.Replica = 77
	sink, err := r.e.NewSnapshotSink(a)
	r.check(err)
	sink.tables.bytesMax = 1 + r.rng.IntN(200)
	for i, c := range chunks {
		done, err := sink.Add(c)
		r.check(err)
		if done != (i == len(chunks)-1) {
			r.Fatalf("chunk %d of %d: done=%v", i, len(chunks), done)
		}
	}
	r.check(sink.Ingest(&state))
	sink.Close()
	r.m.replicas[p] = was.replicas[p]
	r.m.replicas[p].state.Replica = 77
	if a.SystemPrefix != "" {
		r.m.system = was.system
	}
	r.history = []*model{r.m.clone()}
	if got, err := r.e.FlushedApplied(p); err != nil || got != state.Applied {
		r.Errorf("after taking in a copy at %d, durable is %d, %v", state.Applied, got, err)
	}
	r.states()
}
