package client

import (
	"context"

	"github.com/kvd-db/kvd/kv"
)

// Again begins the next attempt of a transaction of Client.Begin, for callers that run their reads
// and writes once more after a *ConflictError. This attempt ends without effect, unless it has
// ended already; after one that has committed, or may have, it is ErrTxDone. The
// transaction keeps its age (rule A7), so it wins in the end; functions of OnCommit are not kept.
func (t *Tx) Again(ctx context.Context) (*Tx, error) {
	if t.run.managed {
		return nil, typed(kv.Errorf(kv.Invalid, "Update makes the next attempt by itself: return the error from its function"))
	}
	switch {
	case ctx.Err() != nil:
		return nil, typed(ended(ctx))
	case t.run.over:
		return nil, ErrTxDone
	}
	if t.close() {
		_, _ = t.run.end(ctx, t.attempt, Commit{ID: t.ID()}, errRolledBack) // for the hooks alone
	}
	r, id := t.run, t.client.router.NewID()
	r.hooked = r.start(ctx, id)
	r.claims = t.written()
	r.attempts++
	return newAttempt(t.client, r, id, r.attempts), nil
}
