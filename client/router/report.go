package router

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// watched reports whether anybody wants to hear of every copy.
func (c *Call) watched() bool { return c.router.config.OnRPC != nil || c.Meter.traces() }

func (c *Call) report(ctx context.Context, a session.Action, address string, start time.Time, n int, err *kv.Error) {
	info := RPC{
		Method: method(a.Request), Node: address, Partition: a.Request.Partition,
		Start: start, Elapsed: time.Since(start), Bytes: n,
	}
	timing := c.reply.Response.Timing
	if err != nil {
		info.Err, timing = err, err.Timing
	} else {
		info.Timestamp = c.reply.Response.Timestamp
	}
	if timing != nil {
		info.Spent = timing.Spent
	}
	if q := a.Request.Commit; q != nil && len(q.Parts) > 0 {
		info.Others = c.router.others(q.Parts, timing, err)
	}
	if c.router.config.OnRPC != nil {
		c.router.config.OnRPC(ctx, info)
	}
	if c.Meter.traces() {
		c.Meter.note(info)
	}
}

// others is what is known of the participants of a commit, or of one that was refused.
func (r *Router) others(parts []kv.Part, timing *kv.Timing, refused *kv.Error) []RPCPart {
	all := make([]RPCPart, len(parts))
	for i := range parts {
		p := &parts[i]
		x := RPCPart{PartTiming: kv.PartTiming{Partition: p.Partition}, Bytes: partBytes(p)}
		if timing != nil && i < len(timing.Parts) && timing.Parts[i].Partition == p.Partition {
			x.PartTiming = timing.Parts[i]
		}
		if x.Node = r.address(x.PartTiming.Node); x.Node == "" {
			x.Node = r.leaderAddress(p.Partition)
		}
		switch {
		case refused == nil:
		case refused.Partition == p.Partition:
			x.Err = refused
		case timing != nil && !x.Answered():
			x.Err = kv.Errorf(kv.Canceled, "the commit ended before an answer was there")
		}
		all[i] = x
	}
	return all
}

// partBytes is the keys and values of a part.
func partBytes(p *kv.Part) (n int) {
	for i := range p.Reads {
		n += len(p.Reads[i].Key)
	}
	for _, s := range p.Spans {
		n += len(s.Start) + len(s.End)
	}
	for i := range p.Writes {
		n += len(p.Writes[i].Key) + len(p.Writes[i].Value)
	}
	return n
}

func method(q *kv.Request) string {
	switch {
	case q.Read != nil:
		return "read"
	case q.Scan != nil:
		return "scan"
	case q.Commit != nil:
		return "commit"
	}
	return "outcome"
}
