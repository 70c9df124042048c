package mvcc

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// health collects what Pebble's background work reports. Pebble calls it from its own
// goroutines; this is the one place of the package that they reach.
type health struct {
	damaged atomic.Pointer[kv.Error] // the first corruption: stays
	failed  atomic.Pointer[kv.Error] // the last failed flush or compaction: until a flush succeeds
	flush   atomic.Pointer[kv.Error] // the last failed flush: until one succeeds
	failure chan struct{}            // room for one: a flush has failed
	ended   error                    // of the flush that has just ended; Pebble calls back one at a time
	gate    *gate                    // of a deterministic store; nil: none
	ending  atomic.Bool              // nothing waits for space any more
	stalls  atomic.Int64
	flushes atomic.Int64
}

func newHealth() *health { return &health{failure: make(chan struct{}, 1)} }

func (h *health) current() error {
	if e := h.damaged.Load(); e != nil {
		return e
	}
	if e := h.failed.Load(); e != nil {
		return e
	}
	return nil
}

func (h *health) listener(log Logger) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			e := wrapError("background work of the store", err)
			if kv.KindOf(e) == kv.DiskFull {
				log.Infof("%v", e) // tried again some times a second: Health has it for those who tell people
			} else {
				log.Errorf("background work of the store failed: %v", err)
			}
			h.report(e)
			if h.ended != nil && errors.Is(err, h.ended) {
				h.flushFailed(wrapError("flushing", err))
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			log.Errorf("damage in the store: %v", i)
			h.report(kv.Errorf(kv.Corruption, "the file %s of the store is damaged (%v): what is damaged is never served; replace the replicas on this store", i.Path, i.Details))
		},
		FlushEnd: func(i pebble.FlushInfo) {
			// A flush without output ends with an error that is none: only what is reported
			// as a background error too has failed.
			if h.ended = i.Err; i.Err == nil {
				h.flushes.Add(1)
				h.failed.Store(nil)
				h.flush.Store(nil)
			}
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			h.stalls.Add(1)
			log.Infof("writes wait: %s", i.Reason)
		},
	}
	l.EnsureDefaults(log)
	return l
}

func (h *health) report(err error) {
	e := kv.AsError(err)
	if e.Kind == kv.Corruption {
		h.damaged.CompareAndSwap(nil, e)
	}
	h.failed.Store(e)
}

func (h *health) flushFailed(err error) {
	h.flush.Store(kv.AsError(err))
	h.gate.set(false)
	select {
	case h.failure <- struct{}{}:
	default:
	}
}

// wait waits for a flush. Pebble tries a failed flush again and again, so its own channel
// would stay silent for as long as the disk is full.
func (h *health) wait(done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-h.failure:
		}
		select {
		case <-done: // an older failure, overcome
			return nil
		default:
		}
		if err := h.flush.Load(); err != nil {
			return err
		}
	}
}
