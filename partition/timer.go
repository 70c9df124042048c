package partition

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// timer measures where the time of one request goes. A nil one, that of a request whose asker does not
// want to know, measures nothing. It knows the instants of turns: what is done within one takes no time.
type timer struct {
	admitted kv.Instant
	since    kv.Instant // when what it waits for now began
	spent    kv.Timing
}

// stage is what a request waits for.
type stage uint8

const (
	waiting  stage = iota // for latches, locks, writes under way
	drawing               // for its timestamp
	agreeing              // for the log
)

func (l *leader) newTimer(wanted bool) *timer {
	if !wanted {
		return nil
	}
	now := l.sink.Now()
	return &timer{admitted: now, since: now}
}

// begin: what was waited for until now counts as nothing.
func (t *timer) begin(l *leader) {
	if t != nil {
		t.since = l.sink.Now()
	}
}

// end counts what has passed since the last begin or end.
func (t *timer) end(l *leader, s stage) {
	if t == nil {
		return
	}
	now := l.sink.Now()
	d := time.Duration(now - t.since)
	t.since = now
	switch s {
	case waiting:
		t.spent.LockWait += d
	case drawing:
		t.spent.Draw += d
	case agreeing:
		t.spent.Consensus += d
	}
}

// read counts what an evaluation took.
func (t *timer) read(l *leader, r *ReadResult) {
	if t != nil {
		t.spent.Storage += r.Took
		t.begin(l)
	}
}

// part notes what a participant that has acknowledged says; a late one does not matter any more.
func (t *timer) part(l *leader, c *commit, i int, ack *kv.Response) {
	if t == nil || ack == nil || c.phase != phasePreparing {
		return
	}
	if t.spent.Parts == nil {
		t.spent.Parts = make([]kv.PartTiming, len(c.req.Parts))
		for j := range t.spent.Parts {
			t.spent.Parts[j].Partition = c.req.Parts[j].Partition
		}
	}
	p := &t.spent.Parts[i]
	p.Elapsed = time.Duration(l.sink.Now() - t.admitted)
	if ack.Timing != nil {
		p.Spent = ack.Timing.Spent
	}
}

// timing is what an answer tells. It must not change any more.
func (t *timer) timing() *kv.Timing {
	if t == nil {
		return nil
	}
	return &t.spent
}

// timed puts the timing of a commit that has happened into what it answers.
func (c *commit) timed() {
	if c.timer == nil {
		return
	}
	if c.results == nil {
		c.results = &results{}
	}
	c.results.timing = c.timer.timing()
}

// refused puts into the error that ends a commit what that has waited for by now.
func (t *timer) refused(l *leader, c *commit, err *kv.Error) *kv.Error {
	if t == nil {
		return err
	}
	switch {
	case c.phase == phaseDrawing:
		t.end(l, drawing)
	case c.task == nil && (c.others == nil || !c.others.held):
		t.end(l, waiting)
	}
	told := *err
	told.Timing = t.timing()
	return &told
}

// Timed reports whether the time that Execute takes is asked for: ReadResult.Took.
func (t *ReadTask) Timed() bool { return t.timer != nil }

// Waited counts what passed at a replica that does not lead until anchors had answered.
func (t *ReadTask) Waited(d time.Duration) {
	if t.timer != nil {
		t.timer.spent.LockWait += d
	}
}

// Proven counts what passed until a proof of leadership was there.
func (t *ReadTask) Proven(d time.Duration) {
	if t.timer != nil {
		t.timer.spent.Consensus += d
	}
}

// Tell puts the timing into the answer to a read.
func (t *ReadTask) Tell(r *ReadResult) {
	if t.timer == nil || r.Response == nil {
		return
	}
	told := t.timer.spent
	told.Storage += r.Took
	r.Response.Timing = &told
}
