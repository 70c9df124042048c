package mvcc

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// GCArgs bound one step of a collection of garbage.
type GCArgs struct {
	Span kv.Span
	// Threshold is G. It must already be in the applied state of the replica, so that no
	// crash leaves a state that has lost versions and still answers below G.
	Threshold kv.Timestamp
	// Examined bounds the versions looked at, Deleted those deleted; 0 = the defaults.
	Examined int
	Deleted  int
	// Full looks at everything. Otherwise whole blocks are passed over that, by what their
	// tables know, hold no overwritten version: what is missed are versions whose successor is
	// in another table still, and lone tombstones. One full pass in many is enough.
	Full bool
}

// Defaults of one step: some milliseconds of work.
const (
	GCExaminedDefault = 20_000
	GCDeletedDefault  = 5_000
)

// GCResult says what one step did.
type GCResult struct {
	Resume   kv.Key // where the next step begins; nil when the span is done
	Examined int
	Versions int // deleted
	Keys     int // gone altogether
	Bytes    int64
}

// CollectGarbage deletes the versions of a span that no read at or above the threshold can see:
// those overwritten at or below it, and tombstones at or below it under which
// nothing is left. The newest version at or below the threshold of a present key stays. The
// deletions are not durable before a flush; a crash only brings garbage back.
func (e *Engine) CollectGarbage(a GCArgs) (GCResult, error) {
	if a.Examined <= 0 {
		a.Examined = GCExaminedDefault
	}
	if a.Deleted <= 0 {
		a.Deleted = GCDeletedDefault
	}
	if a.Span.IsEmpty() || a.Threshold == 0 || a.Threshold == MaxTimestamp {
		return GCResult{}, nil
	}
	r, err := e.NewReader()
	if err != nil {
		return GCResult{}, err
	}
	defer r.Close()
	g := collector{r: r, a: a, b: e.NewBatch()}
	if err := g.run(); err != nil {
		g.b.Discard()
		return GCResult{}, err
	}
	if g.b.Empty() {
		g.b.Discard()
		return g.res, nil
	}
	return g.res, g.b.Commit()
}

// collector is one step under way. An iterator that passes over blocks finds the keys with
// garbage; what is deleted of a key is decided on an iterator that sees everything,
// since a tombstone may only go if nothing is below it, hidden blocks included.
type collector struct {
	r      *Reader
	a      GCArgs
	b      *Batch
	res    GCResult
	prefix []byte
}

func (g *collector) run() error {
	lo, hi := spanBounds(kindData, g.a.Span)
	o := &pebble.IterOptions{LowerBound: lo, UpperBound: hi}
	if !g.a.Full {
		o.PointKeyFilters = filters(shadowedBy(g.a.Threshold))
	}
	it, err := g.r.clone(o)
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }()
	for ok := it.First(); ok; {
		k, _, err := splitDataKey(it.Key())
		if err != nil {
			return err
		}
		if g.res.Examined >= g.a.Examined || g.res.Versions >= g.a.Deleted {
			g.res.Resume = slices.Clone(k)
			return nil
		}
		ek := it.Key()
		g.prefix = append(g.prefix[:0], ek[:splitKey(ek)]...)
		garbage, err := g.suspect(it)
		if err != nil {
			return err
		}
		if garbage {
			more, err := g.collect()
			if err != nil {
				return err
			}
			if !more {
				g.res.Resume = slices.Clone(g.prefix[1 : len(g.prefix)-1])
				return nil
			}
		}
		// suspect may have moved on to the next key already.
		if ok = it.Valid(); ok && samePrefix(it.Key(), g.prefix) {
			ok = it.NextPrefix()
		}
	}
	return wrapError("looking for garbage", it.Error())
}

// suspect reports whether the visible versions of the key at which it stands hold garbage:
// a second one at or below the threshold, or a tombstone there.
func (g *collector) suspect(it *pebble.Iterator) (bool, error) {
	for steps := 0; ; steps++ {
		_, ts, err := splitDataKey(it.Key())
		if err != nil {
			return false, err
		}
		g.res.Examined++
		if ts <= g.a.Threshold {
			break
		}
		if steps < versionStepsMax {
			it.Next()
		} else {
			g.prefix = appendVersion(g.prefix, g.a.Threshold)
			it.SeekGE(g.prefix)
			g.prefix = g.prefix[:len(g.prefix)-versionSuffixBytes]
		}
		if !it.Valid() || !samePrefix(it.Key(), g.prefix) {
			return false, nil
		}
	}
	if lv := it.LazyValue(); lv.Len() <= tombstoneBytesMax {
		b, err := it.ValueAndErr()
		if err != nil {
			return false, wrapError("reading a value", err)
		}
		if v, err := splitStored(b); err != nil || v.Tombstone {
			return err == nil, err
		}
	}
	return it.Next() && samePrefix(it.Key(), g.prefix), nil
}

// collect deletes the garbage of one key. It reports false if the step's limit was reached
// with garbage left: the same key comes first in the next step.
func (g *collector) collect() (more bool, err error) {
	g.r.key = append(g.r.key[:0], g.prefix...)
	g.r.key = appendVersion(g.r.key, g.a.Threshold)
	if !g.r.seekPrefix() {
		return true, wrapError("collecting garbage", g.r.it.Error())
	}
	newest, _, err := g.r.version()
	if err != nil {
		return false, err
	}
	newestKey := slices.Clone(g.r.it.Key())
	newestLen := storedLen(newest.ID, newest.Value)
	for ok := g.r.it.Next(); ok; ok = g.r.it.Next() {
		if g.res.Versions >= g.a.Deleted {
			return false, nil
		}
		lv := g.r.it.LazyValue()
		if err := g.delete(g.r.it.Key(), lv.Len()); err != nil {
			return false, err
		}
	}
	if err := g.r.it.Error(); err != nil {
		return false, wrapError("collecting garbage", err)
	}
	if !newest.Tombstone {
		return true, nil
	}
	newer, err := g.newerThanThreshold()
	if err != nil {
		return false, err
	}
	if !newer {
		g.res.Keys++
	}
	return true, g.delete(newestKey, newestLen)
}

// newerThanThreshold reports whether the key has a version that stays.
func (g *collector) newerThanThreshold() (bool, error) {
	g.r.key = append(g.r.key[:0], g.prefix...)
	g.r.key = appendVersion(g.r.key, MaxTimestamp)
	if !g.r.seekPrefix() {
		return false, wrapError("collecting garbage", g.r.it.Error())
	}
	_, ts, err := splitDataKey(g.r.it.Key())
	return ts > g.a.Threshold, err
}

func (g *collector) delete(ek []byte, storedBytes int) error {
	g.res.Examined++
	g.res.Versions++
	g.res.Bytes += int64(len(ek) + storedBytes)
	return wrapError("collecting garbage", g.b.deleteKey(ek))
}
