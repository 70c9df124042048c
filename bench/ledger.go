package bench

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// A run counts its violations and keeps the first few that differ.
const violationExamplesMax = 10

// Violation kinds.
const (
	violationWrongValue = "wrong value"   // bytes that nobody wrote there
	violationMissing    = "missing"       // an acknowledged record is gone
	violationStale      = "stale"         // a worker does not see its own acknowledged write
	violationNeverSent  = "never sent"    // a value of this run that its writer has not begun to write
	violationOrder      = "scan order"    // keys out of order or out of the bounds
	violationTooLong    = "scan too long" // more records than were asked for
	violationBank       = "bank"          // money was made or lost
)

// violations collects what proves a run wrong.
type violations struct {
	count atomic.Int64

	mu       sync.Mutex
	examples []string
}

func (v *violations) add(kind, format string, args ...any) {
	v.count.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.examples) == violationExamplesMax {
		return
	}
	if x := kind + ": " + fmt.Sprintf(format, args...); !slices.Contains(v.examples, x) {
		v.examples = append(v.examples, x)
	}
}

// ledger is what one worker knows of its own writes: enough to notice a value that should
// not be there. It is a direct-mapped table, so that it is small and costs nothing; a
// record that falls out of it is just not checked.
type ledger struct {
	run    uint64
	writer uint32
	begun  *atomic.Uint64 // the newest sequence that this worker has begun to write
	acked  []ledgerEntry
	// tainted are records with a write of unknown outcome: it may still take effect, and
	// then an older value than the acknowledged one is right.
	tainted map[uint64]struct{}
}

type ledgerEntry struct {
	recordPlus1 uint64 // 0: empty
	sequence    uint64 // the newest acknowledged
}

const (
	ledgerEntries    = 4096
	ledgerTaintedMax = 100_000 // above it, checks of the worker's own writes end
)

func newLedger(run uint64, writer uint32, begun *atomic.Uint64) *ledger {
	return &ledger{run: run, writer: writer, begun: begun, acked: make([]ledgerEntry, ledgerEntries), tainted: map[uint64]struct{}{}}
}

// begin stamps the next write.
func (l *ledger) begin() Stamp {
	return Stamp{Run: l.run, Writer: l.writer, Sequence: l.begun.Add(1)}
}

// ack notes a write that the store has acknowledged.
func (l *ledger) ack(record uint64, s Stamp) {
	l.acked[record%ledgerEntries] = ledgerEntry{recordPlus1: record + 1, sequence: s.Sequence}
}

// taint notes a write that may or may not have happened, now or later.
func (l *ledger) taint(record uint64) {
	if len(l.tainted) < ledgerTaintedMax {
		l.tainted[record] = struct{}{}
	}
}

// ackedOf is the newest acknowledged sequence of a record, 0 if the ledger has none that
// it may insist on.
func (l *ledger) ackedOf(record uint64) uint64 {
	e := l.acked[record%ledgerEntries]
	if e.recordPlus1 != record+1 || len(l.tainted) >= ledgerTaintedMax {
		return 0
	}
	if _, ok := l.tainted[record]; ok {
		return 0
	}
	return e.sequence
}

// inspector checks what a worker reads.
type inspector struct {
	run        uint64
	begun      []atomic.Uint64 // by worker
	stale      bool            // the target may serve old values
	violations *violations
}

// value checks one value.
func (in *inspector) value(key, value []byte) (Stamp, bool) {
	s, err := CheckValue(key, value)
	if err != nil {
		in.violations.add(violationWrongValue, "%q: %v", key, err)
		return s, false
	}
	if s.Run == in.run && int(s.Writer) < len(in.begun) && s.Sequence > in.begun[s.Writer].Load() {
		in.violations.add(violationNeverSent, "%q: write %d of worker %d, which has begun only %d", key, s.Sequence, s.Writer, in.begun[s.Writer].Load())
		return s, false
	}
	return s, true
}

// own checks a value against the reader's own acknowledged write of the record. before is
// ackedOf as it was when the read began.
func (in *inspector) own(l *ledger, key []byte, s Stamp, before uint64) {
	if in.stale || before == 0 || s.Run != l.run || s.Writer != l.writer || s.Sequence >= before {
		return
	}
	in.violations.add(violationStale, "%q: worker %d reads its write %d after write %d was acknowledged", key, l.writer, s.Sequence, before)
}

// scan checks the records of a scan.
func (in *inspector) scan(start, end []byte, limit int, found []Record) {
	if len(found) > limit {
		in.violations.add(violationTooLong, "%d records from %q on, %d were asked for", len(found), start, limit)
	}
	previous := start
	for i, r := range found {
		c := bytes.Compare(r.Key, previous)
		if c < 0 || c == 0 && i > 0 || end != nil && bytes.Compare(r.Key, end) >= 0 {
			in.violations.add(violationOrder, "%q after %q in a scan of [%q, %q)", r.Key, previous, start, end)
		}
		previous = r.Key
		in.value(r.Key, r.Value)
	}
}
