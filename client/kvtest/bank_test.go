package kvtest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// TestBank moves money between accounts in several partitions of two keyspaces, while answers are
// lost and leaders move and are killed: the sum is the same in every snapshot.
func TestBank(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for elections")
	}
	cluster := kvtest.NewCluster(t, 3)
	c := cluster.Client()
	if err := c.Admin().CreateKeyspace(t.Context(), "ranges", client.ByRange([]byte("c"), []byte("e"))); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin().CreateKeyspace(t.Context(), "hashes", client.ByHash(3)); err != nil {
		t.Fatal(err)
	}
	spaces := []string{"ranges", "hashes"}
	accounts := []string{"a", "b", "c", "d", "e", "f"}
	if _, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
		for _, s := range spaces {
			for _, a := range accounts {
				tx.In(s).Put([]byte(a), []byte("100"))
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	total := func(ctx context.Context, r func(string) client.Reader) (sum int, err error) {
		for _, s := range spaces {
			for p, err := range r(s).Scan(ctx, client.All()) {
				if err != nil {
					return 0, err
				}
				n, _ := strconv.Atoi(string(p.Value))
				sum += n
			}
		}
		return sum, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var done atomic.Bool
	var moved atomic.Int64
	progress := make(chan struct{}, 1)
	for worker := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(worker, 1))
			for !done.Load() {
				from, to := spaces[rng.IntN(2)], spaces[rng.IntN(2)]
				a, b := accounts[rng.IntN(6)], accounts[rng.IntN(6)]
				amount := rng.IntN(20)
				_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
					p, err := tx.In(from).Get(ctx, []byte(a))
					if err != nil {
						return err
					}
					n, _ := strconv.Atoi(string(p.Value))
					tx.In(from).Put([]byte(a), strconv.AppendInt(nil, int64(n-amount), 10))
					tx.In(to).Add([]byte(b), int64(amount))
					return nil
				})
				var lost *client.AmbiguousError
				if err != nil && !errors.As(err, &lost) && !errors.Is(err, client.ErrUnavailable) {
					t.Error(err)
				}
				if err == nil {
					moved.Add(1)
					select {
					case progress <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	wg.Go(func() {
		for !done.Load() {
			sum, err := client.ViewValue(ctx, c, func(ctx context.Context, s *client.Snapshot) (int, error) {
				return total(ctx, func(n string) client.Reader { return s.In(n) })
			})
			if err == nil && sum != 1200 {
				t.Errorf("a snapshot sums to %d", sum)
			}
		}
	})
	for i := range 3 {
		cluster.FailNextCommit(kvtest.AfterCommitPoint)
		cluster.MoveLeader("ranges", []byte("d"), i)
		cluster.Kill(i)
		for want := moved.Load() + 30; moved.Load() < want && ctx.Err() == nil; { // the others go on
			select {
			case <-progress:
			case <-ctx.Done():
			}
		}
		cluster.Restart(i)
	}
	done.Store(true)
	wg.Wait()
	sum, err := client.ViewValue(ctx, c, func(ctx context.Context, s *client.Snapshot) (int, error) {
		return total(ctx, func(n string) client.Reader { return s.In(n) })
	})
	if err != nil || sum != 1200 || moved.Load() < 90 {
		t.Errorf("the end: %d, %v, %d transfers", sum, err, moved.Load())
	}
}
