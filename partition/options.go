package partition

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// CommitMode is how a leader commits what goes over several partitions. As a participant it takes
// part in both: so it may differ between nodes.
type CommitMode uint8

// The modes.
const (
	TwoPhase CommitMode = iota // transactions.md, H: prepare everywhere, then the record
	Parallel                   // transactions.md, P: lock in memory everywhere, then stage everywhere at once
)

// Options bound one partition. The zero value of a field means its default.
type Options struct {
	// WaitersPerKeyMax bounds the commits that hold or wait for the latch of one key.
	WaitersPerKeyMax int
	// RequestsMax bounds the requests that are not answered and the draws that are under way.
	RequestsMax int
	// CommitBytesMax bounds the keys and values of the commits that are admitted and not yet
	// applied; one that is larger runs alone.
	CommitBytesMax int
	// CopiesMax bounds the copies of one commit that wait for the same answer; beyond it the
	// oldest is told to ask for the outcome.
	CopiesMax int
	// SeenIDsMax bounds the seen set (rule I6): beyond it its window shrinks.
	SeenIDsMax int
	// PreparedMax bounds the transactions of other anchors that hold or wait for locks here.
	PreparedMax int
	// SeenWindow is how far W lies behind the newest timestamp heard of (rule I6).
	SeenWindow time.Duration
	// WaitMax is how long a request may wait for anything here.
	WaitMax time.Duration
	// Commit is how transactions commit that have their anchor here.
	Commit CommitMode
	// Node is which one this is, for those who ask where the time went; 0: they are not told.
	Node kv.NodeID
}

// Defaults of Options.
const (
	WaitersPerKeyMaxDefault = 10_000
	RequestsMaxDefault      = 50_000
	CommitBytesMaxDefault   = 256 << 20
	CopiesMaxDefault        = 8
	SeenIDsMaxDefault       = 1_000_000
	PreparedMaxDefault      = 50_000
	SeenWindowDefault       = 10 * time.Second
	WaitMaxDefault          = 2 * kv.RequestTimeoutDefault
)

func (o *Options) setDefaults() {
	setDefault(&o.WaitersPerKeyMax, WaitersPerKeyMaxDefault)
	setDefault(&o.RequestsMax, RequestsMaxDefault)
	setDefault(&o.CommitBytesMax, CommitBytesMaxDefault)
	setDefault(&o.CopiesMax, CopiesMaxDefault)
	setDefault(&o.SeenIDsMax, SeenIDsMaxDefault)
	setDefault(&o.PreparedMax, PreparedMaxDefault)
	setDefault(&o.SeenWindow, SeenWindowDefault)
	setDefault(&o.WaitMax, WaitMaxDefault)
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
