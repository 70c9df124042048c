package client

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// Scan goes over a range in key order, over all partitions. It sees the transaction's own writes as
// they were when it began; the loop's body may write. An error is the last element. Only what was
// really gone over counts as read: with a limit, or a loop that is broken off, the range up to
// the last pair.
func (t *Tx) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		s := scanSettingsOf(opts)
		m, err := t.merge(ctx, r, &s)
		if err != nil {
			yield(Pair{}, err)
			return
		}
		defer m.close()
		var copies arena
		for n := 0; s.limit == 0 || n < s.limit; n++ {
			key, value, version, bad := m.next()
			switch {
			case bad != nil:
				yield(Pair{}, t.failed(bad))
				return
			case key == nil:
				return
			}
			m.last = append(m.last[:0], key...)
			if !yield(copies.pair(key, value, version), nil) {
				return
			}
		}
	}
}

// merge is a scan under way: the store's rows with the transaction's writes over them.
type merge struct {
	t        *Tx
	whole    Range
	settings *scanSettings
	ks       kv.Keyspace
	store    *rows
	writes   []*buffered // not gone over yet, in the scan's order
	cleared  []Range
	used     bool   // the store's next row has been gone over
	last     []byte // newest key handed out; nil: none
	finished bool   // all of the range was gone over
}

// merge begins a scan.
func (t *Tx) merge(ctx context.Context, r Range, s *scanSettings) (*merge, error) {
	m := &merge{t: t, whole: r, settings: s}
	t.mu.Lock()
	done := t.done
	m.writes = t.space.writes.in(r, s.reverse)
	for _, c := range t.space.writes.cleared {
		if c.overlaps(r) {
			m.cleared = append(m.cleared, c)
		}
	}
	t.mu.Unlock()
	if done {
		return nil, ErrTxDone
	}
	var err *kv.Error
	if m.ks, err = t.view.keyspace(ctx, t.space.name); err != nil {
		return nil, t.failed(err)
	}
	q, err := queryOf(m.ks, r, s)
	if err != nil {
		return nil, typed(err)
	}
	switch { // each write hides one row of the store at most
	case len(m.cleared) > 0:
		q.Limit = 0
	case q.Limit > 0:
		q.Limit += len(m.writes)
	}
	if m.store, err = t.view.scan(ctx, q); err != nil {
		return nil, t.failed(err)
	}
	return m, nil
}

// close ends the scan and remembers what it went over.
func (m *merge) close() {
	m.store.close()
	read := m.whole
	switch {
	case m.finished:
	case m.last == nil:
		return
	case m.settings.reverse:
		read.Start = m.last
	default:
		read.End = kv.Key(m.last).Next()
	}
	m.t.mu.Lock()
	defer m.t.mu.Unlock()
	m.t.space.reads.noteSpan(read)
}

// next is the next pair; a nil key at the end. Key and value alias a message or a write.
func (m *merge) next() (key, value []byte, version Timestamp, err *kv.Error) {
	for {
		if m.used {
			m.used = false
			if err = m.store.advance(); err != nil {
				return nil, nil, 0, err
			}
		}
		var row []byte
		if m.store.more {
			row = m.ks.UserKey(m.store.next.Key)
		}
		if row == nil && len(m.writes) == 0 {
			m.finished = true
			return nil, nil, 0, nil
		}
		order := m.compare(row)
		m.used = order >= 0
		if order > 0 {
			if rangesContain(m.cleared, row) {
				continue
			}
			return row, m.store.next.Value, m.store.next.Version, nil
		}
		w := m.writes[0]
		m.writes = m.writes[1:]
		value, there, err := m.over(w, order == 0)
		if there || err != nil {
			return w.key, value, Buffered, err
		}
	}
}

// over is what a write leaves to see, over the store's next row if that has its key.
func (m *merge) over(w *buffered, same bool) (value []byte, there bool, err *kv.Error) {
	if m.settings.keysOnly {
		return nil, w.kind != kv.WriteDelete, nil
	}
	var base []byte
	if same {
		base = m.store.next.Value
	}
	return w.over(base, same)
}

// compare says which comes first: a row of the store (> 0), the next write (< 0), or both.
func (m *merge) compare(row []byte) int {
	switch {
	case row == nil:
		return -1
	case len(m.writes) == 0:
		return 1
	}
	c := bytes.Compare(m.writes[0].key, row)
	if m.settings.reverse {
		return -c
	}
	return c
}

// expand makes writes of what DeleteRange has emptied: each key that the store has there at the
// transaction's timestamp is deleted, and the range counts as read. Nothing else uses the attempt
// any more.
func (a *attempt) expand(ctx context.Context) *kv.Error {
	left := kv.CommitKeysMax
	for _, s := range a.spaces {
		left -= s.writes.count()
	}
	for _, s := range a.sorted() {
		for _, r := range s.writes.cleared {
			n, err := a.deleteIn(ctx, s, r, left)
			if err != nil {
				return err
			}
			left -= n
			s.reads.noteSpan(r)
		}
	}
	return nil
}

// deleteIn deletes the keys of a range, so many at most.
func (a *attempt) deleteIn(ctx context.Context, s *space, r Range, limit int) (n int, err *kv.Error) {
	ks, err := a.view.keyspace(ctx, s.name)
	if err != nil {
		return 0, err
	}
	q, _ := queryOf(ks, r, &scanSettings{keysOnly: true})
	found, err := a.view.scan(ctx, q)
	if err != nil {
		return 0, err
	}
	defer found.close()
	for ; found.more; err = found.advance() {
		key := slices.Clone(ks.UserKey(found.next.Key))
		if _, written := s.writes.find(key); written {
			continue
		}
		if n++; n > limit {
			return n, kv.LimitError("keys of one commit", kv.CommitKeysMax, int64(kv.CommitKeysMax-limit+n), "delete the range in several transactions")
		}
		s.writes.set(&buffered{key: key, kind: kv.WriteDelete})
		if a.anchor == nil {
			a.anchor = &anchor{space: s, key: key}
		}
	}
	return n, err
}

// sorted is the keyspaces by name.
func (a *attempt) sorted() []*space {
	all := make([]*space, 0, len(a.spaces))
	for _, s := range a.spaces {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *space) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return all
}
