package host

import (
	"context"

	"github.com/kvd-db/kvd/kv"
)

// Submit hands requests to the node, all at once, so that one wake-up serves them all. It
// blocks for no answer; the slice is the caller's again when it returns.
func (h *Host) Submit(batch []Ask) {
	r := h.running.Load()
	if r == nil {
		h.refuse(batch, func(*kv.Request) *kv.Error { return h.notRunning() })
		return
	}
	r.loops.submit(batch)
}

// refuse answers those requests that why names a reason for, and returns the others.
func (h *Host) refuse(batch []Ask, why func(*kv.Request) *kv.Error) []Ask {
	kept := make([]Ask, 0, len(batch))
	for _, a := range batch {
		if err := why(a.Request); err != nil {
			h.metrics.requests.answered(err)
			a.Asker.Answer(nil, err)
			continue
		}
		kept = append(kept, a)
	}
	return kept
}

func (h *Host) notRunning() *kv.Error {
	if h.draining.Load() {
		return errStopping
	}
	return kv.Errorf(kv.Unavailable, "the node at %s is starting, or waits for the others of its cluster: try again", h.address)
}

// Cancel tells that nobody waits any more for what Submit has given this handle. The answer comes
// all the same, unless it has come already.
func (h *Host) Cancel(handle uint64) {
	if r := h.running.Load(); r != nil {
		r.loops.cancel(handle)
	}
}

// Admin answers a question to the core or to this node. Its error is a *kv.Error.
func (h *Host) Admin(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error) {
	r := h.running.Load()
	if r == nil {
		return nil, h.notRunning()
	}
	return r.loops.admin(ctx, req)
}

// Info is this node's entry of the registry.
func (h *Host) Info() kv.NodeInfo {
	if r := h.running.Load(); r != nil {
		return *r.info.Load()
	}
	return kv.NodeInfo{Address: h.address, Locality: h.options.Locality}
}

// Answered reports whether the oracle has answered this node since it started: the cluster is formed, and takes commands.
func (h *Host) Answered() bool {
	if r := h.running.Load(); r != nil {
		return r.loops.sum(func(s *shared) int64 { return s.answered.Load() }) > 0
	}
	return false
}

// Heard is the newest timestamp that this node has heard of.
func (h *Host) Heard() kv.Timestamp {
	if r := h.running.Load(); r != nil {
		return r.loops.heard()
	}
	return 0
}
