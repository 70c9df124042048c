package partition

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// scanPage is one page of a scan: what the engine has, with committed locks for versions among it.
type scanPage struct {
	args   mvcc.ScanArgs
	rows   []kv.Row
	resume kv.Key
	count  int64
	keys   int // that may still be added
	bytes  int
}

// committedLock is the lock of a committed transaction as the newest version of its key.
type committedLock struct {
	key     kv.Key
	version mvcc.Version
}

// read reads the page in pieces between the keys with committed locks.
func (p *scanPage) read(r *mvcc.Reader, t *ReadTask) error {
	locks, err := t.committedLocks(r)
	if err != nil {
		return err
	}
	p.keys, p.bytes = limit(p.args.Keys, kv.ScanPageKeysMax), limit(p.args.Bytes, kv.ScanPageBytesMax)
	left := p.args.Span
	for i := range locks {
		k := &locks[i]
		piece := kv.Span{Start: left.Start, End: k.key}
		if p.args.Reverse {
			piece = kv.Span{Start: k.key.Next(), End: left.End}
		}
		if done, err := p.piece(r, piece); done || err != nil {
			return err
		}
		if p.full() {
			p.resume = k.key // the first key that is not in the page, or the bound above it
			if p.args.Reverse {
				p.resume = k.key.Next()
			}
			return nil
		}
		p.add(k)
		if p.args.Reverse {
			left.End = k.key
		} else {
			left.Start = k.key.Next()
		}
	}
	if len(locks) > 0 && p.full() && !left.IsEmpty() {
		p.resume = left.Start
		if p.args.Reverse {
			p.resume = left.End
		}
		return nil
	}
	_, err = p.piece(r, left)
	return err
}

func limit(asked, most int) int {
	if asked <= 0 || asked > most {
		return most
	}
	return asked
}

func (p *scanPage) full() bool { return p.keys <= 0 || p.bytes <= 0 }

// piece adds what the engine has in a span; done: the page ends within it.
func (p *scanPage) piece(r *mvcc.Reader, s kv.Span) (done bool, err error) {
	if s.IsEmpty() {
		return false, nil
	}
	args := p.args
	args.Span, args.Keys, args.Bytes = s, p.keys, p.bytes
	rows, resume, count, err := r.Scan(args)
	if err != nil {
		return false, err
	}
	for i := range rows {
		p.bytes -= len(rows[i].Key) + len(rows[i].Value)
	}
	p.keys -= max(len(rows), int(count))
	p.count += count
	p.resume = resume
	if p.rows == nil {
		p.rows = rows
	} else {
		p.rows = append(p.rows, rows...)
	}
	return resume != nil, nil
}

func (p *scanPage) add(k *committedLock) {
	if k.version.Tombstone {
		return
	}
	p.keys--
	p.count++
	if p.args.CountOnly {
		return
	}
	row := kv.Row{Key: k.key, Version: k.version.Timestamp}
	if !p.args.KeysOnly {
		row.Value = k.version.Value
	}
	p.bytes -= len(row.Key) + len(row.Value)
	p.rows = append(p.rows, row)
}

// committedLocks are the candidates that count, in the order of the scan.
func (t *ReadTask) committedLocks(r *mvcc.Reader) (locks []committedLock, err error) {
	for i := range t.Candidates {
		key := t.Candidates[i].Key
		found, ok, err := r.Get(key, t.At)
		if err != nil {
			return nil, err
		}
		v, err := t.candidate(r, key, found, ok)
		if err != nil {
			return nil, err
		}
		if v != nil {
			locks = append(locks, committedLock{key, *v})
		}
	}
	slices.SortFunc(locks, func(a, b committedLock) int {
		if t.Scan.Reverse {
			a, b = b, a
		}
		return bytes.Compare(a.key, b.key)
	})
	return locks, nil
}
