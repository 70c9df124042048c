package server

import (
	"context"

	"github.com/kvd-db/kvd/kv"
)

// Asker waits for the answer to one request.
type Asker interface {
	// Answer is called exactly once for each Submission, from any goroutine, with exactly one
	// of the two. It never blocks. What it is given belongs to the asker from then on: the
	// backend changes nothing in it any more.
	Answer(*kv.Response, *kv.Error)
}

// Submission is one request on its way through a backend. It is one object from Submit to
// Answer, so that a small request needs no allocation of its own.
type Submission struct {
	// Request and all that it points to are only read, and stay as they are for ever: the
	// backend may keep them. Its bytes alias a whole message of up to wire.BatchBytes: what is
	// kept for long is copied.
	Request *kv.Request
	Asker   Asker
	// Handle is the backend's own: set in Submit, if at all, and found again in Cancel.
	Handle uint64
}

// Backend is what a server opens its doors to: one node, implemented by the host.
type Backend interface {
	// Submit hands over requests, all at once, so that one wake-up serves them all. It blocks
	// for no answer. The slice is the caller's again when Submit returns; the Submissions
	// are the backend's until their Answer.
	Submit(batch []*Submission)
	// Cancel tells that nobody waits for a submission any more. Answer is called all the same,
	// exactly once, and may already have been.
	Cancel(s *Submission)
	// Admin answers a question to the core or to this node. Its error is a *kv.Error; NotLeader
	// names the node to ask.
	Admin(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error)
	// Info is this node's entry of the registry.
	Info() kv.NodeInfo
	// Heard is the newest timestamp that this node has heard of from the oracle.
	Heard() kv.Timestamp
}
