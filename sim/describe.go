package sim

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// describe is a message on one line, for people.
func describe(m *node.Message) string {
	switch {
	case m.Heartbeat != nil:
		return fmt.Sprintf("heartbeat inc %d sent %d", m.Heartbeat.Incarnation, m.Heartbeat.Sent)
	case m.Ack != nil:
		return fmt.Sprintf("support inc %d epoch %x sent %d", m.Ack.Incarnation, m.Ack.Epoch, m.Ack.Sent)
	case m.Raft != nil:
		x := m.Raft.Message
		l := fmt.Sprintf("p%d %s %d>%d term %d index %d logterm %d commit %d", m.Raft.Partition, x.GetType(), x.GetFrom(), x.GetTo(), x.GetTerm(), x.GetIndex(), x.GetLogTerm(), x.GetCommit())
		if x.GetReject() {
			l += " reject"
		}
		if n := len(x.GetEntries()); n > 0 {
			l += fmt.Sprintf(" entries %d..%d", x.GetEntries()[0].GetIndex(), x.GetEntries()[n-1].GetIndex())
		}
		if m.Raft.Tag != 0 {
			l += fmt.Sprintf(" tag %x", m.Raft.Tag)
		}
		if len(x.GetContext()) > 0 {
			l += fmt.Sprintf(" context %x", x.GetContext())
		}
		return l
	case m.Draw != nil:
		return fmt.Sprintf("draw %+v", *m.Draw)
	case m.Grant != nil:
		return fmt.Sprintf("grant %+v", *m.Grant)
	case m.Report != nil:
		return "report"
	case m.Order != nil:
		return "order"
	case m.OrderDone != nil:
		return fmt.Sprintf("order done %+v", *m.OrderDone)
	case m.Digest != nil:
		return fmt.Sprintf("digest %+v", *m.Digest)
	case m.Call != nil && m.Call.Request == nil:
		return fmt.Sprintf("call %x finds p%d", m.Call.Number, m.Call.Find)
	case m.Call != nil:
		return fmt.Sprintf("call %x %s", m.Call.Number, describeRequest(m.Call.Request, nil))
	case m.CallDone != nil:
		return fmt.Sprintf("call %x done %s", m.CallDone.Number, describeAnswer(answer{response: m.CallDone.Response, err: m.CallDone.Err}))
	case m.Closed != nil:
		return fmt.Sprintf("closed %+v", *m.Closed)
	case m.Retain != nil:
		return fmt.Sprintf("retain %+v", *m.Retain)
	case m.ClosedGap != nil:
		return fmt.Sprintf("closed gap %+v", *m.ClosedGap)
	}
	return "nothing"
}

// describeRequest is a request on one line.
func describeRequest(r *kv.Request, a *kv.AdminRequest) string {
	switch {
	case a != nil:
		return "admin"
	case r.Read != nil:
		return fmt.Sprintf("p%d read %q at %d%s", r.Partition, r.Read.Keys, uint64(r.Read.Timestamp), describeStale(r.Read.Stale))
	case r.Scan != nil:
		return fmt.Sprintf("p%d scan %q-%q at %d%s", r.Partition, r.Scan.Span.Start, r.Scan.Span.End, uint64(r.Scan.Timestamp), describeStale(r.Scan.Stale))
	case r.Commit != nil:
		c := r.Commit
		l := fmt.Sprintf("p%d commit %.8s term %d asof %d start %d reads %d spans %d", r.Partition, c.ID, c.Term, uint64(c.AsOf), uint64(c.Start), len(c.Reads), len(c.Spans))
		for _, w := range c.Writes {
			l += fmt.Sprintf(" %q", w.Key)
		}
		for _, p := range c.Parts {
			l += fmt.Sprintf(" part p%d reads %d spans %d", p.Partition, len(p.Reads), len(p.Spans))
			for _, w := range p.Writes {
				l += fmt.Sprintf(" %q", w.Key)
			}
		}
		return l
	case r.Outcome != nil:
		return fmt.Sprintf("p%d outcome %.8s term %d ask %d at %d", r.Partition, r.Outcome.ID, r.Outcome.Term, r.Outcome.Ask, uint64(r.Outcome.At))
	case r.Prepare != nil:
		return fmt.Sprintf("p%d prepare %.8s term %d of p%d, %d writes", r.Partition, r.Prepare.ID, r.Prepare.Term, r.Prepare.Partition, len(r.Prepare.Writes))
	case r.Stage != nil:
		return fmt.Sprintf("p%d stage %.8s at %d in term %d, recover %t", r.Partition, r.Stage.ID, uint64(r.Stage.Commit), r.Stage.Term, r.Stage.Recover)
	case r.Resolve != nil:
		return fmt.Sprintf("p%d resolve %.8s at %d", r.Partition, r.Resolve.ID, uint64(r.Resolve.Commit))
	}
	return "nothing"
}

func describeStale(s kv.Stale) (l string) {
	if s.Follower {
		l = " anywhere"
	}
	if s.NotBefore != 0 {
		l += fmt.Sprintf(" not before %d", uint64(s.NotBefore))
	}
	return l
}

// describeAnswer is an answer on one line.
func describeAnswer(a answer) string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case a.response == nil:
		return "admin"
	}
	r := a.response
	l := fmt.Sprintf("at %d in term %d", uint64(r.Timestamp), r.Term)
	for _, row := range r.Rows {
		l += fmt.Sprintf(" %q=%q@%d", row.Key, row.Value, uint64(row.Version))
	}
	return l
}
