package kv

import "time"

// Spent is where time went in one partition. What a request did not need is 0.
type Spent struct {
	// LockWait is for latches and locks that others held. A read waits for writes under way, and for what the
	// anchors of locks in its way say.
	LockWait time.Duration
	// Draw is for the timestamp to be drawn.
	Draw time.Duration
	// Consensus is from the proposal to the log until it was committed, or, for a Prepare, applied. In
	// quorum mode it is a read's proof of leadership.
	Consensus time.Duration
	// Storage is for reading the engine.
	Storage time.Duration
}

// Timing is where the time of a request went that asked for it (Request.Trace), in the partition that answered
// it. What is left to the whole is the network's and queues'.
type Timing struct {
	Spent
	Parts []PartTiming // of a Commit with Parts, in their order
}

// PartTiming is a participant of a two-phase commit.
type PartTiming struct {
	Partition PartitionID
	Elapsed   time.Duration // from the Prepare to its acknowledgement, at the anchor's leader
	Spent
}
