package router

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// TestRefreshTellsWhy: if time runs out while the map is asked for once more, the error is what was wrong before.
func TestRefreshTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		hold := make(chan struct{})
		l.topology = func() (*kv.Topology, *kv.Error) {
			if l.refreshs > 2 { // the core's answer and the node's own, in the first round
				<-hold
			}
			return nil, kv.Errorf(kv.Unavailable, "too busy")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Refresh(ctx, ""); err == nil || err.Kind != kv.Unavailable || l.refreshs != 3 {
			t.Errorf("after %d questions: %v", l.refreshs, err)
		}
		close(hold)
	})
}
