package kv

import "time"

// Spent is where time went in one partition. What a request did not need is 0.
type Spent struct {
	// LockWait is for latches and locks that others held. A read waits for writes under way, and for what the
	// anchors of locks in its way say.
	LockWait time.Duration
	// Draw is for the timestamp to be drawn.
	Draw time.Duration
	// Consensus is from the proposal to the log until it was committed, or, for a part of a parallel commit, applied. In
	// quorum mode it is a read's proof of leadership.
	Consensus time.Duration
	// Storage is for reading the engine.
	Storage time.Duration
}

// Timing is where the time of a request went that asked for it (Request.Trace), in the partition that answered
// it. What is left to the whole is the network's and queues'.
type Timing struct {
	Node NodeID // that answered; 0 = not told
	Spent
	Parts []PartTiming // of a Commit with Parts, in their order; none before any has answered
}

// PartTiming is a participant of a commit.
type PartTiming struct {
	Partition PartitionID
	Node      NodeID        // that answered the Prepare, or the Stage; 0 = not told
	Elapsed   time.Duration // from the Prepare to its acknowledgement or refusal, at the anchor's leader; 0 = neither came
	// Staged, of a commit in parallel, is from the draw of its timestamp until the Stage was acknowledged, at
	// the anchor's leader: the part with the longest was the last. 0 = it was not.
	Staged time.Duration
	Spent
}

// Answered reports whether the participant has said anything.
func (p *PartTiming) Answered() bool { return p.Node != 0 || p.Elapsed != 0 }
