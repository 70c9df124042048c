package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

const (
	markerSpace = "markers"
	mirrorSpace = "mirrors" // the other partition of every marker, in another keyspace
)

// markers is transactions whose answers are given up at a random moment. Each writes a marker of
// its own in two partitions: both or neither must be there, for ever, as the outcome says.
type markers struct {
	x         *Transactions
	number    atomic.Int64
	calledOff atomic.Int64

	mu    sync.Mutex
	fates map[string]fate
}

func newMarkers(x *Transactions) *markers {
	return &markers{x: x, fates: map[string]fate{}}
}

// A commit is called off after waitMin to waitMax, each power of ten being as likely: some have
// not been sent by then, and some have been answered.
const (
	waitMin = 50 * time.Microsecond
	waitMax = 300 * time.Millisecond
)

// write writes one pair of markers.
func (m *markers) write(w *worker) error {
	name := fmt.Sprintf("%c%09d", 'a'+w.rng.IntN(26), m.number.Add(1))
	ctx, cancel := m.x.call()
	defer cancel()
	callOff, read := w.rng.IntN(2) == 0, w.rng.IntN(3) == 0
	wait := time.Duration(float64(waitMin) * math.Pow(float64(waitMax/waitMin), w.rng.Float64()))
	_, err := w.client.In(markerSpace).Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		if read { // then it can be overtaken, too: others write this
			if _, err := tx.Get(ctx, []byte("newest")); err != nil && !errors.Is(err, client.ErrNotFound) {
				return err
			}
			tx.Put([]byte("newest"), []byte(name))
		}
		tx.Put([]byte(name), []byte(name))
		tx.In(mirrorSpace).Put([]byte(name), []byte(name))
		if callOff {
			m.calledOff.Add(1)
			time.AfterFunc(wait, cancel) // the commit is what follows
		}
		return nil
	})
	f := m.x.settle(w.client, "marker "+name, err)
	m.mu.Lock()
	m.fates[name] = f
	m.mu.Unlock()
	if errors.As(err, new(*client.AmbiguousError)) {
		m.compare(w.other, name, f)
	}
	if kv.KindOf(err) == kv.Canceled || errors.Is(err, client.ErrAmbiguous) {
		return nil // as was meant: nothing to rest for
	}
	return err
}

// compare looks whether both markers are there or neither, as the outcome said.
func (m *markers) compare(by *client.Client, name string, f fate) {
	ctx, cancel := m.x.call()
	defer cancel()
	var one, two bool
	err := by.In(markerSpace).View(ctx, func(ctx context.Context, s *client.Snapshot) (err error) {
		if one, err = there(ctx, s, name); err == nil {
			two, err = there(ctx, s.In(mirrorSpace), name)
		}
		return err
	})
	if err == nil {
		m.judge(name, f, one, two)
	}
}

// judge holds what was seen of a marker against its outcome.
func (m *markers) judge(name string, f fate, one, two bool) {
	if f == unknown && one == two {
		return
	}
	if one != two || one != (f == happened) {
		m.x.failf("marker %s: its transaction happened: %v; it is in the one partition: %v, in the other: %v", name, f == happened, one, two)
	}
}

func there(ctx context.Context, s *client.Snapshot, name string) (bool, error) {
	p, err := s.Get(ctx, []byte(name))
	if errors.Is(err, client.ErrNotFound) {
		return false, nil
	}
	return err == nil && string(p.Value) == name, err
}

// verify holds all markers against all outcomes.
func (m *markers) verify() {
	m.x.t.Helper()
	var found [2]map[string]bool
	for i, space := range []string{markerSpace, mirrorSpace} {
		found[i] = map[string]bool{}
		m.x.eventually("read all "+space, func(ctx context.Context) error {
			clear(found[i])
			for p, err := range m.x.clients[0].In(space).Scan(ctx, client.Range{}) {
				if err != nil {
					return err
				}
				found[i][string(p.Key)] = true
			}
			return nil
		})
	}
	delete(found[0], "newest")
	for name, f := range m.fates {
		m.judge(name, f, found[0][name], found[1][name])
	}
	for i := range found {
		for name := range found[i] {
			if m.fates[name] == 0 {
				m.x.failf("there is a marker %s that nobody wrote", name)
			}
		}
	}
}
