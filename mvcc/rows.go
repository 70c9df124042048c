package mvcc

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// pendingRows is what an open batch does to short-lived rows, which are locks or records. A row that is put here is
// written when the batch ends, unless it was removed before: one that comes and goes within a batch costs the store
// nothing. That counts on a row being put where the store has none: ids are not used twice, and a leader knows its
// locks. And TakeLock sees here what the batch has done: a Pebble batch that can be read costs an index of all its
// writes.
type pendingRows struct {
	at    map[string]*pendingRow // by engine key
	put   []*pendingRow          // in order, with repetitions: all replicas write the same batch
	spans []kv.Span              // whose rows were removed before what is in at
}

// pendingRow is a row as the batch leaves it.
type pendingRow struct {
	ek     []byte
	stored []byte // nil: removed
	held   bool   // not written yet
}

// row is where the batch keeps what becomes of a row.
func (p *pendingRows) row(ek []byte) *pendingRow {
	r := p.at[string(ek)]
	if r == nil {
		if p.at == nil {
			p.at = map[string]*pendingRow{}
		}
		r = &pendingRow{ek: ek}
		p.at[string(ek)] = r
	}
	return r
}

// hold keeps a row to be written when the batch ends.
func (p *pendingRows) hold(ek, stored []byte) {
	r := p.row(ek)
	r.stored, r.held = stored, true
	p.put = append(p.put, r)
}

// remove notes that a row goes. It reports whether it never came into the store.
func (p *pendingRows) remove(ek []byte) (never bool) {
	r := p.row(ek)
	never = r.held
	r.stored, r.held = nil, false
	return never
}

// write calls set for the rows that are left, once.
func (p *pendingRows) write(set func(ek, stored []byte) error) error {
	for _, r := range p.put {
		if !r.held {
			continue
		}
		if err := set(r.ek, r.stored); err != nil {
			return err
		}
		r.held = false
	}
	p.put = nil
	return nil
}

// dropSpan is a removal of all rows in a span, as split tells their full keys.
func (p *pendingRows) dropSpan(s kv.Span, split func(ek []byte) (kv.Key, error)) {
	for ek, r := range p.at { // in any order: each is looked at alone
		if k, err := split(r.ek); err == nil && s.Contains(k) {
			r.held = false
			delete(p.at, ek)
		}
	}
	p.spans = append(p.spans, s)
}

// get reports known if the batch decides what is at the engine key ek of a row at k.
func (p *pendingRows) get(ek []byte, k kv.Key) (stored []byte, known bool) {
	if r := p.at[string(ek)]; r != nil {
		return r.stored, true
	}
	return nil, p.dropped(k)
}

// dropped reports whether the batch has removed everything at k.
func (p *pendingRows) dropped(k kv.Key) bool {
	return slices.ContainsFunc(p.spans, func(s kv.Span) bool { return s.Contains(k) })
}

// checkNew is what pendingRows relies on, in builds with the tag "invariants": a row is put where the store has none, or
// the batch has removed it. One that this batch has put may be put again: a transaction locks a key and a span that begins
// there in one row.
func (b *Batch) checkNew(p *pendingRows, ek []byte, k kv.Key) error {
	if !invariant.Expensive {
		return nil
	}
	if _, known := p.get(ek, k); known {
		return nil
	}
	_, closer, err := b.e.db.Get(ek)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return wrapError("looking for a row", err)
	}
	_ = closer.Close() // returns memory only
	invariant.Check(false, "the row %x is put where one is already", ek)
	return nil
}
