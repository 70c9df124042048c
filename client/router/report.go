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
	if err != nil {
		info.Err = err
		if err.Timing != nil {
			info.Spent = err.Timing.Spent
		}
	} else {
		info.Timestamp = c.reply.Response.Timestamp
		if t := c.reply.Response.Timing; t != nil {
			info.Spent = t.Spent
		}
	}
	if q := a.Request.Commit; q != nil && len(q.Parts) > 0 {
		info.Others = c.others(q.Parts, err == nil)
	}
	if c.router.config.OnRPC != nil {
		c.router.config.OnRPC(ctx, info)
	}
	if c.Meter.traces() {
		c.Meter.note(info)
	}
}

// others is what is known of the participants of a commit; answered: its answer is in reply.
func (c *Call) others(parts []kv.Part, answered bool) []RPCPart {
	all := make([]RPCPart, len(parts))
	for i := range parts {
		p := &parts[i]
		all[i] = RPCPart{PartTiming: kv.PartTiming{Partition: p.Partition}, Node: c.router.leaderAddress(p.Partition), Bytes: partBytes(p)}
		if t := c.reply.Response.Timing; answered && t != nil && i < len(t.Parts) && t.Parts[i].Partition == p.Partition {
			all[i].PartTiming = t.Parts[i]
		}
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
