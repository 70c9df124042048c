package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// nodes is the size of both clusters.
const nodes = 3

// side is one of the two clusters.
type side interface {
	// processes are its servers.
	processes() *cluster
	// target is the side as the harness drives it. space is one of the key spaces of spaces.go.
	target(space string) bench.Target
	// pinned is like target, but every operation goes to the one node that leads.
	pinned(ctx context.Context, space string) (bench.Target, error)
	// makeSpace makes a key space; it is no error if the side has no such thing.
	makeSpace(ctx context.Context, space string, keys int) error
	// leaders says who leads, for the log of the run.
	leaders(ctx context.Context, space string) string
	// stop ends all processes and connections.
	stop()
}

// stalePlace is a target that can also read what is not the newest.
type stalePlace interface {
	// staleBy is the same place, whose Get gives the state a while ago.
	staleBy(d time.Duration) bench.Target
}

// snapshotter is a target that can read all of its key space as it was at one time.
type snapshotter interface {
	scanAll(ctx context.Context) (rows int, err error)
}

// How a side is waited for after it was stopped: rounds of writes until this many in a row
// were without an error.
const (
	settleKeys      = 64
	settleRoundsMin = 2
	settleMax       = time.Minute
	settleOpMax     = 2 * time.Second
)

// awake resumes a side and waits until it takes writes everywhere, and then for rest.
func awake(ctx context.Context, s side, t bench.Target, rest time.Duration) error {
	writeBack()
	s.processes().resume()
	deadline := time.Now().Add(settleMax)
	for good := 0; good < settleRoundsMin; {
		err := settleRound(ctx, t)
		switch {
		case err == nil:
			good++
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%s takes no writes for %v after it was resumed: %w", s.processes().side, settleMax, err)
		default:
			good = 0
			pause(ctx, 50*time.Millisecond)
		}
	}
	pause(ctx, rest)
	return ctx.Err()
}

// settleRound writes keys that lie behind those of the harness.
func settleRound(ctx context.Context, t bench.Target) error {
	for i := range settleKeys {
		opCtx, cancel := context.WithTimeout(ctx, settleOpMax)
		err := t.Put(opCtx, fmt.Appendf(nil, "~settle%02d", i), []byte("settled"))
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
