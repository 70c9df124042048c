package session

import "github.com/kvd-db/kvd/kv"

// Answered: the node did what it was asked. What it has heard of goes to Session.Hear first,
// here as for Refused.
func (c *Call) Answered(a *kv.Response) Action {
	if c.state != stateSent {
		return c.misused("Answered")
	}
	c.name.inFlight = false
	if a.Term != 0 {
		c.s.Map.LearnLeader(c.req.Partition, c.node, a.Term)
	}
	if c.op.Request.Outcome != nil && a.Outcome == kv.OutcomeUnknown {
		return c.backoff(kv.Errorf(kv.Unavailable, "the outcome of %s cannot be had now", c.op.Request.Outcome.ID))
	}
	c.state = stateDone
	return Action{Kind: Done, Response: a}
}

// Lost: the copy was sent, or may have been, and its answer will not come.
func (c *Call) Lost(why *kv.Error) Action {
	if c.state != stateSent {
		return c.misused("Lost")
	}
	c.name.inFlight, c.name.unsure = false, true
	c.s.Map.ForgetLeader(c.req.Partition, c.node)
	if c.Near() {
		return c.nextNear(why)
	}
	return c.backoff(why)
}

// Refused: the node answered with an error, or the shell could not send at all, which is
// Unavailable: both as the kind says.
func (c *Call) Refused(e *kv.Error) Action {
	if c.state != stateSent {
		return c.misused("Refused")
	}
	c.name.inFlight = false
	if c.Near() && c.refusedNear(e) {
		return c.nextNear(e)
	}
	switch e.Kind {
	case kv.NotLeader:
		return c.notLeader(e)
	case kv.WrongPartition:
		return c.wrongPartition(e)
	case kv.Unavailable, kv.DiskFull: // a node with a full disk gives its leaderships away
		c.s.Map.ForgetLeader(c.req.Partition, c.node)
		return c.backoff(e)
	case kv.StaleTerm, kv.Aborted:
		return c.dead(e)
	case kv.Expired:
		return c.expired(e)
	case kv.Ambiguous, kv.Timeout, kv.Canceled, kv.Closed:
		// The copy may or may not be executed; the same one again finds out.
		c.name.unsure = true
		c.s.Map.ForgetLeader(c.req.Partition, c.node)
		return c.backoff(e)
	case kv.NotFound:
		return c.notFound(e)
	case kv.Conflict, kv.Expectation, kv.TooOld:
		return c.fail(e) // about the name: final, whatever copies there were
	case kv.Internal:
		c.name.unsure = true
	}
	return c.end(e)
}

// notLeader: nothing was done there.
func (c *Call) notLeader(e *kv.Error) Action {
	if c.pointed(e) {
		return c.redirect(e)
	}
	return c.backoff(e)
}

// pointed takes over who leads by the word of a node that does not; false: it is of no help.
func (c *Call) pointed(e *kv.Error) bool {
	p := c.req.Partition
	if e.Leader == 0 || e.Leader == c.node {
		c.s.Map.ForgetLeader(p, c.node)
		return false
	}
	place, ok := c.s.Map.Partition(p)
	term := e.Term
	if ok && term == 0 {
		term = place.Term
	}
	c.s.Map.LearnLeader(p, e.Leader, term)
	if ok && place.Leader == c.node {
		// It points to the leader of an older term than a known one: believe neither.
		c.s.Map.ForgetLeader(p, c.node)
		return false
	}
	return true
}

// wrongPartition: nothing was done there; the answer brings news. Of a commit with parts any of
// its partitions may have refused: unless a copy was lost, nothing will ever be done under its name, and
// it is parted again.
func (c *Call) wrongPartition(e *kv.Error) Action {
	news := false
	for _, d := range e.Descriptors {
		news = c.s.Map.LearnDescriptor(d) || news
	}
	c.partAgain()
	if news {
		return c.redirect(e)
	}
	c.tries.last = e
	if c.tries.redirects++; c.tries.redirects > redirectsMax {
		return c.backoff(e)
	}
	return c.refresh()
}

// partAgain lets a commit with parts that was refused without being done be parted anew. If a copy
// was lost, only its own name may go on.
func (c *Call) partAgain() {
	if c.name.parted && !c.name.unsure && !c.op.Named {
		c.forgetName()
	}
}

// notFound: the node knows no such partition. The map may be old, once.
func (c *Call) notFound(e *kv.Error) Action {
	if c.tries.refreshed {
		return c.end(e)
	}
	c.partAgain()
	c.tries.last = e
	return c.refresh()
}

// dead: the name will never be executed, so the commit goes on under a new one (rule I4).
// A leader of an older term than the name's says so too, but another copy may be with the
// leader of the right term: that answer is no proof.
func (c *Call) dead(e *kv.Error) Action {
	q := c.req.Commit
	if q == nil {
		return c.fail(e)
	}
	if e.Kind == kv.StaleTerm {
		if e.Term <= q.Term && c.name.unsure {
			c.s.Map.ForgetLeader(c.req.Partition, c.node)
			return c.backoff(e)
		}
		c.learnTerm(e)
	}
	if c.op.Named {
		return c.fail(e)
	}
	return c.rename(e)
}

// rename goes on under a new name, after the old one is finally dead.
func (c *Call) rename(why *kv.Error) Action {
	c.forgetName()
	return c.redirect(why)
}

func (c *Call) learnTerm(e *kv.Error) {
	leader := c.node
	if e.Leader != 0 {
		leader = e.Leader
	}
	if !c.s.Map.LearnLeader(c.req.Partition, leader, e.Term) {
		// The term that the map has is no leader's, or this one's: the next name takes the answer's.
		c.s.Map.correctTerm(c.req.Partition, leader, e.Term)
	}
}

// expired: the name is older than the outcome horizon. It was not executed now; if a copy
// may have been before, nobody knows any more.
func (c *Call) expired(e *kv.Error) Action {
	q := c.req.Commit
	if q == nil || c.name.unsure || c.op.Named || c.s.heard <= q.AsOf {
		return c.end(e)
	}
	return c.rename(e)
}

// Unsent: the shell took the copy back before any of it left; Ended follows.
func (c *Call) Unsent() { c.name.inFlight = false }

// Ended: nobody waits any more. The result says whether the request may have been done.
func (c *Call) Ended(why *kv.Error) Action {
	if c.state == stateDone {
		return c.misused("Ended")
	}
	if last := c.tries.last; last != nil && why.Kind == kv.Timeout && (c.reads() || !c.name.inFlight) {
		switch last.Kind {
		case kv.Unavailable, kv.NotLeader:
			why = &kv.Error{Kind: kv.Unavailable, Partition: last.Partition, Message: why.Message + "; the newest answer was: " + last.Message}
		case kv.DiskFull:
			why = last
		}
	}
	return c.end(why)
}

// reads reports whether the call changes nothing.
func (c *Call) reads() bool {
	return c.req == nil || c.req.Commit == nil || len(c.req.Commit.Writes) == 0
}

// end is the end by an error that is not about the name: if a copy may have been executed,
// the outcome is not known.
func (c *Call) end(e *kv.Error) Action {
	q := c.req
	if q == nil || q.Commit == nil || len(q.Commit.Writes) == 0 || !c.name.unsure && !c.name.inFlight {
		return c.fail(e)
	}
	if e.Kind == kv.Invalid || e.Kind == kv.Limit {
		return c.fail(e) // every node refuses every copy
	}
	return c.fail(&kv.Error{
		Kind: kv.Ambiguous, ID: q.Commit.ID, Partition: q.Partition,
		Message: "the commit may or may not have happened; its last news: " + e.Error(),
	})
}
