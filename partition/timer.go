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
	return &timer{admitted: now, since: now, spent: kv.Timing{Node: l.opts.Node}}
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

// part notes what a participant says that has acknowledged or refused; a late one does not matter any more.
func (t *timer) part(l *leader, c *commit, i int, resp *kv.Response, err *kv.Error) {
	if t == nil || c.phase != phasePreparing || err != nil && passing(err) {
		return
	}
	p := t.partOf(c, i)
	p.Elapsed = time.Duration(l.sink.Now() - t.admitted)
	told := toldBy(resp, err)
	p.Node, p.Spent = told.Node, told.Spent
}

// staged notes that a participant's part is durable; what it says of its time covers both rounds.
func (t *timer) staged(l *leader, c *commit, i int, resp *kv.Response) {
	if t == nil {
		return
	}
	p := t.partOf(c, i)
	p.Staged = time.Duration(l.sink.Now() - c.others.staging.begun)
	if told := toldBy(resp, nil); told.Node != 0 {
		p.Node, p.Spent = told.Node, told.Spent
	}
}

func (t *timer) partOf(c *commit, i int) *kv.PartTiming {
	if t.spent.Parts == nil {
		t.spent.Parts = make([]kv.PartTiming, len(c.req.Parts))
		for j := range t.spent.Parts {
			t.spent.Parts[j].Partition = c.req.Parts[j].Partition
		}
	}
	return &t.spent.Parts[i]
}

// toldBy is the timing in an answer, all zero if there is none.
func toldBy(resp *kv.Response, err *kv.Error) (told kv.Timing) {
	switch {
	case err != nil && err.Timing != nil:
		return *err.Timing
	case err == nil && resp != nil && resp.Timing != nil:
		return *resp.Timing
	}
	return told
}

// again is a timer that goes on from one whose timing was told, and must not change any more.
func (t *timer) again(l *leader) *timer {
	if t == nil {
		return nil
	}
	next := *t
	next.begin(l)
	return &next
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

// refused puts into the error that ends a prepare what that has waited for by now.
func (p *prepared) refused(l *leader, err *kv.Error) {
	err.Partition = l.id
	if p.phase == preparing && p.task == nil {
		p.timer.end(l, waiting)
	}
	err.Timing = p.timer.timing()
}

// refused puts into the error that ends a read what that has waited for by now.
func (r *read) refused(l *leader, err *kv.Error) *kv.Error {
	s := waiting
	if r.drawing {
		s = drawing
	}
	r.task.timer.end(l, s)
	err.Timing = r.task.timer.timing()
	return err
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

// Tell puts the timing into the answer to a read, or its refusal.
func (t *ReadTask) Tell(r *ReadResult) {
	switch {
	case t.timer == nil:
	case r.Err != nil:
		r.Err = t.Refuse(r.Err, r)
	case r.Response != nil:
		r.Response.Timing = t.told(r)
	}
}

// Refuse is an error with the timing of a read that it ends; r, if there is one, was found and may not be told.
func (t *ReadTask) Refuse(err *kv.Error, r *ReadResult) *kv.Error {
	if t.timer == nil {
		return err
	}
	e := *err
	e.Timing = t.told(r)
	return &e
}

func (t *ReadTask) told(r *ReadResult) *kv.Timing {
	told := t.timer.spent
	if r != nil {
		told.Storage += r.Took
	}
	return &told
}
