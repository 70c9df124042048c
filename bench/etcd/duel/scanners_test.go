package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// fakePlace scans as many rows as it is told, each time a millisecond long, and reads the past.
type fakePlace struct {
	bench.Target
	rows int
	err  error
	age  time.Duration
}

func (p *fakePlace) Scan(_ context.Context, _, _ []byte, limit int) ([]bench.Record, error) {
	time.Sleep(time.Millisecond)
	return make([]bench.Record, min(limit, p.rows)), p.err
}

func (p *fakePlace) scanAll(context.Context) (int, error) {
	time.Sleep(time.Millisecond)
	return p.rows, p.err
}

func (p *fakePlace) staleBy(d time.Duration) bench.Target { return &fakePlace{age: d} }

// Scans that are not whole are no scans, whatever they say.
func TestScanners(t *testing.T) {
	for _, c := range []struct {
		name          string
		of            contender
		place         *fakePlace
		works, failed bool
	}{
		{"stretches", contender{scanners: 2}, &fakePlace{rows: 500}, true, false},
		{"stretches that are short", contender{scanners: 1}, &fakePlace{rows: 499}, false, true},
		{"snapshots, with other keys beside", contender{snapshots: 1}, &fakePlace{rows: 500 + settleKeys}, true, false},
		{"snapshots that are short", contender{snapshots: 1}, &fakePlace{rows: 499}, false, true},
		{"snapshots that fail", contender{snapshots: 1}, &fakePlace{rows: 500, err: errors.New("gone")}, false, true},
		{"nothing", contender{}, &fakePlace{}, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, err := startScanners(t.Context(), c.place, c.of, 500)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			perSecond, failed := s.stop(), s.failed.Load()
			if (perSecond > 0) != c.works || (failed > 0) != c.failed || (s.said != "") != c.failed {
				t.Errorf("%s: %v scans a second, %d failed: %s", c.name, perSecond, failed, s.said)
			}
		})
	}
	if _, err := startScanners(t.Context(), &etcdTarget{}, contender{label: "x", side: "etcd", snapshots: 1}, 1); err == nil || !strings.Contains(err.Error(), "etcd") {
		t.Errorf("%v; want that etcd has no such thing", err)
	}
}

// What is read as of a while ago is asked for when it has been there for that long.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contender{side: "kvd", space: spaceHash8, stale: 5 * time.Second}
		d := &duel{loaded: map[string]time.Time{c.place(): time.Now()}}
		began := time.Now()
		got, err := d.stale(t.Context(), c, &fakePlace{})
		if p, ok := got.(*fakePlace); err != nil || !ok || p.age != c.stale || time.Since(began) != c.stale+staleMargin {
			t.Errorf("%+v, %v, after %v", got, err, time.Since(began))
		}
		began = time.Now()
		if _, err := d.stale(t.Context(), c, &fakePlace{}); err != nil || time.Since(began) != 0 {
			t.Errorf("%v, after %v more; the keys had been there for long", err, time.Since(began))
		}
	})
	if _, err := (&duel{}).stale(t.Context(), contender{side: "x"}, newWitness(nil)); err == nil {
		t.Error("a target that knows only the newest reads the past")
	}
}
