package client

import (
	"bytes"
	"context"
	"slices"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// Commit ends a transaction of Client.Begin. If something that it read has changed since, nothing
// is done and the error is a *ConflictError: begin again. Without writes there is nothing to
// send. In the function of Client.Update it is an error: that one commits when the function returns.
func (t *Tx) Commit(ctx context.Context) (Commit, error) {
	if t.run.managed {
		return Commit{}, typed(kv.Errorf(kv.Invalid, "Update commits when its function returns nil: only a transaction of Begin is committed by Commit"))
	}
	if !t.close() {
		return Commit{}, ErrTxDone
	}
	done, err := t.commit(ctx)
	t.view.close()
	return t.run.end(ctx, t.attempt, done, t.shown(err))
}

// Rollback ends a transaction of Client.Begin without any effect; after the end it is ErrTxDone, so
// that it may be deferred. In the function of Client.Update it is an error: return one instead.
func (t *Tx) Rollback(ctx context.Context) error {
	if t.run.managed {
		return typed(kv.Errorf(kv.Invalid, "return an error from the function of Update to roll back"))
	}
	if !t.close() {
		return ErrTxDone
	}
	t.view.close()
	_, _ = t.run.end(ctx, t.attempt, Commit{ID: t.ID()}, errRolledBack) // for the hooks alone
	return nil
}

// close ends the attempt for its users; false if that was done before.
func (a *attempt) close() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.done
	a.done = true
	return !was
}

// commit sends what the attempt has written, if anything. The attempt is closed: nobody else uses it.
func (a *attempt) commit(ctx context.Context) (Commit, *kv.Error) {
	done := Commit{ID: a.id}
	switch {
	case a.invalid != nil:
		return done, a.invalid
	case a.overtaken != nil:
		return done, a.overtaken
	}
	if err := a.expand(ctx); err != nil {
		return done, err
	}
	if a.anchor == nil { // all that it read was one state: that of its timestamp
		done.Timestamp, done.Stats.ReadKeys = a.view.timestamp(), a.readKeys()
		return done, nil
	}
	plan, err := a.plan(ctx)
	if err != nil {
		return done, err
	}
	done.Stats.ReadKeys, done.Stats.WrittenKeys = a.readKeys(), len(plan.Writes)
	return a.send(ctx, plan, done)
}

// readKeys is how many keys were read by name.
func (a *attempt) readKeys() (n int) {
	for _, s := range a.spaces {
		n += len(s.reads.keys)
	}
	return n
}

// plan is the whole commit, before it is parted: the anchor is the first write. It is made once for an attempt, so that
// all names under which the session sends the commit have the same anchor key.
func (a *attempt) plan(ctx context.Context) (*kv.Commit, *kv.Error) {
	c := &kv.Commit{Age: a.run.age, Writes: make([]kv.Write, 1)}
	for _, s := range a.sorted() {
		if s.writes.count() == 0 && len(s.reads.keys) == 0 && len(s.reads.spans) == 0 {
			continue
		}
		ks, err := a.view.keyspace(ctx, s.name)
		if err != nil {
			return nil, err
		}
		for _, b := range s.writes.in(Range{}, false) {
			w := kv.Write{Kind: b.kind, Key: ks.FullKey(b.key), Value: b.value, Delta: b.delta, Expect: b.expect}
			if s == a.anchor.space && bytes.Equal(b.key, a.anchor.key) {
				c.Writes[0] = w
			} else {
				c.Writes = append(c.Writes, w)
			}
		}
		keys, spans := s.reads.list()
		for _, k := range keys {
			c.Reads = append(c.Reads, kv.ReadMark{Key: ks.FullKey([]byte(k))})
		}
		for _, r := range spans {
			q := router.ScanQuery{Keyspace: ks, Start: r.Start, End: r.End}
			c.Spans = append(c.Spans, q.Spans()...)
		}
		if s.reads.over {
			return nil, tooManyKeys(kv.CommitKeysMax + 1)
		}
	}
	if len(c.Reads)+len(c.Spans) > 0 {
		c.Start = a.view.timestamp()
	}
	a.chooseAnchor(c)
	return c, checkSize(c)
}

// chooseAnchor makes that write the anchor for which the timestamp is drawn with the fewest messages; any will do
// (docs/adr/0022).
func (a *attempt) chooseAnchor(c *kv.Commit) {
	i := a.client.router.Anchor(c.Writes)
	if i == 0 {
		return
	}
	c.Writes[0], c.Writes[i] = c.Writes[i], c.Writes[0]
	key := c.Writes[0].Key
	for _, ks := range a.view.known() {
		if ks.ID == key.Keyspace() {
			a.anchor = &anchor{space: a.spaces[ks.Name], key: ks.UserKey(key)}
		}
	}
}

func tooManyKeys(n int) *kv.Error {
	return kv.LimitError("keys and ranges of one commit", kv.CommitKeysMax, int64(n), "read and write less in one transaction")
}

// checkSize refuses a commit that no node would take.
func checkSize(c *kv.Commit) *kv.Error {
	if n := len(c.Reads) + len(c.Spans) + len(c.Writes); n > kv.CommitKeysMax {
		return tooManyKeys(n)
	}
	size := 0
	for i := range c.Writes {
		size += len(c.Writes[i].Key) + len(c.Writes[i].Value)
	}
	for i := range c.Reads {
		size += len(c.Reads[i].Key)
	}
	if size > kv.CommitBytesMax {
		return tooManyBytes(size)
	}
	return nil
}

func tooManyBytes(n int) *kv.Error {
	return kv.LimitError("bytes of one commit", kv.CommitBytesMax, int64(n), "read and write less in one transaction")
}

// send brings a commit to its end. If its answer was lost, the outcome is asked for, which makes it final.
func (a *attempt) send(ctx context.Context, plan *kv.Commit, done Commit) (Commit, *kv.Error) {
	call := a.client.router.NewCall()
	defer call.Release()
	call.Meter = a.run.meter
	call.Commit = *plan
	call.Op = session.Op{Key: plan.Writes[0].Key, Split: true, FirstID: a.id, Request: kv.Request{Commit: &call.Commit}}
	answer, err := call.Do(ctx)
	if err != nil {
		a.noteHot(plan, err)
	}
	named, home := call.Named()
	if named != nil {
		a.mu.Lock()
		a.id, done.ID = named.ID, named.ID
		a.mu.Unlock()
		done.Stats.Partitions, done.Stats.OnePhase = 1+len(named.Parts), len(named.Parts) == 0
	}
	switch {
	case err == nil:
		done.Timestamp = answer.Timestamp
	case err.Kind == kv.Ambiguous:
		done.Timestamp, err = a.settle(ctx, err, claim{
			id: named.ID, term: named.Term, asOf: named.AsOf, partition: home, keyspace: a.anchor.space.name, key: a.anchor.key,
		})
	}
	return done, err
}

// settle finds out what became of a commit whose answer was lost.
func (a *attempt) settle(ctx context.Context, lost *kv.Error, of claim) (Timestamp, *kv.Error) {
	if ctx.Err() == nil {
		switch outcome, at, _ := a.client.ask(ctx, of); outcome {
		case Committed:
			return at, nil
		case Aborted:
			return 0, kv.Errorf(kv.Aborted, "the answer to commit %s was lost, and it turned out to be aborted", of.id)
		}
	}
	a.client.unsettled.add(of)
	return 0, lost
}

// shown is the error of a commit as this package shows it; nil stays nil.
func (a *attempt) shown(err *kv.Error) error {
	if err == nil {
		return nil
	}
	if err.Kind == kv.Ambiguous {
		claim, _ := a.client.unsettled.find(a.id)
		return &AmbiguousError{ID: a.id, Token: claim.token(), Cause: err}
	}
	err = a.userError(err)
	switch err.Kind {
	case kv.Expectation:
		e := &ExpectationError{Key: slices.Clone(err.Key), cause: err}
		if r := err.Actual; r != nil {
			e.Found, e.Actual = true, pairOf(r.Key, r.Value, r.Version)
		}
		return e
	case kv.Conflict, kv.Aborted:
		return &ConflictError{Key: slices.Clone(err.Key), Reason: reason(err), Holder: err.ID, Attempts: a.number, cause: err}
	}
	return typed(err)
}

// userError is an error about a full key as one about the user's.
func (a *attempt) userError(err *kv.Error) *kv.Error {
	for _, ks := range a.view.known() {
		if ks.ID == err.Key.Keyspace() {
			return ks.UserError(err)
		}
	}
	return err
}
