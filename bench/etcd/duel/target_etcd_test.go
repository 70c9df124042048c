package main

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kvd-db/kvd/bench"
)

// startMember is an etcd of one member in this process.
func startMember(t *testing.T) *clientv3.Client {
	t.Helper()
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	c := embed.NewConfig()
	client, peer := url.URL{Scheme: "http", Host: ports[0]}, url.URL{Scheme: "http", Host: ports[1]}
	c.Dir, c.LogLevel = t.TempDir(), "panic"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	to, err := openEtcd(ports[:1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return to
}

// One etcd serves all that is asked of a target with transactions, and all workloads that have any.
func TestEtcdTransactions(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts etcd")
	}
	target := &etcdTarget{client: startMember(t)}
	t.Run("update", func(t *testing.T) { testUpdate(t, target) })
	t.Run("stale", func(t *testing.T) { testStale(t, target) })
	t.Run("reads of one revision", func(t *testing.T) { testOneRevision(t, target) })
	for _, o := range []bench.Options{
		{Workload: "bank", Bank: bench.BankOptions{Accounts: 5}},
		{Workload: "tx", Keys: 100, Tx: bench.TxOptions{Hot: "10"}},
		{Workload: "tx", Keys: 100, Tx: bench.TxOptions{Keys: 10, Reads: 1}},
		{Workload: "list-append", Keys: 2},
		{Workload: "ycsb-f", Keys: 3, Ordered: true},
	} {
		o.Workers, o.Duration, o.Warmup = 4, 300*time.Millisecond, -1
		r, err := bench.Run(t.Context(), newWitness(target), o)
		if err != nil || r.Verdict == bench.VerdictInvalid || r.Total.Ops == 0 {
			t.Errorf("%s: %+v, %v", o.Workload, r, err)
		}
	}
}

func testUpdate(t *testing.T, target *etcdTarget) {
	a, b := []byte("a"), []byte("b")
	overtaken := false
	took, err := target.Update(t.Context(), func(ctx context.Context, tx bench.Tx) error {
		tx.Put(b, []byte("1"))
		found, err := tx.GetMany(ctx, a, b)
		if err != nil {
			return err
		}
		if string(found[1].Value) != "1" {
			t.Errorf("its own put is %+v", found[1])
		}
		if !overtaken {
			overtaken = true
			if found[0].Version != 0 {
				t.Errorf("a key that is absent: %+v", found[0])
			}
			return target.Put(ctx, a, []byte("x"))
		}
		tx.Put(a, append(found[0].Value, 'y'))
		return nil
	})
	if took != (bench.Attempts{Made: 2, Aborted: 1}) || err != nil {
		t.Errorf("%+v, %v; want two attempts", took, err)
	}
	_, found, err := target.View(t.Context(), [][]byte{a, b, []byte("none")}, 0)
	if err != nil || string(found[0].Value) != "xy" || string(found[1].Value) != "1" || found[2].Version != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	own := errors.New("own")
	if _, err := target.Update(t.Context(), func(_ context.Context, tx bench.Tx) error { tx.Put(a, nil); return own }); !errors.Is(err, own) {
		t.Errorf("%v; want the function's own error", err)
	}
	if r, err := target.Get(t.Context(), a); err != nil || string(r.Value) != "xy" {
		t.Errorf("%+v, %v; nothing should have changed", r, err)
	}
}

// A member answers by itself, and says that it may be behind.
func testStale(t *testing.T, target *etcdTarget) {
	if err := target.Put(t.Context(), []byte("s"), []byte("there")); err != nil {
		t.Fatal(err)
	}
	stale := target.staleBy(time.Second)
	if r, err := stale.Get(t.Context(), []byte("s")); err != nil || string(r.Value) != "there" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := stale.Get(t.Context(), []byte("no such key")); !errors.Is(err, bench.ErrNotFound) {
		t.Errorf("%v; want that there is no such key", err)
	}
	if target.Describe().StaleReads || !newWitness(stale).Describe().StaleReads {
		t.Error("the harness must be told whether what it reads may be old")
	}
}

// Reads of a transaction see one state, whatever is written meanwhile; then it cannot commit.
func testOneRevision(t *testing.T, target *etcdTarget) {
	c, d := []byte("c"), []byte("d")
	first := true
	took, err := target.Update(t.Context(), func(ctx context.Context, tx bench.Tx) error {
		if _, err := tx.GetMany(ctx, c); err != nil {
			return err
		}
		if first {
			if err := target.Put(ctx, d, []byte("new")); err != nil {
				return err
			}
		}
		found, err := tx.GetMany(ctx, d)
		if err == nil && (found[0].Version == 0) != first {
			t.Errorf("first attempt: %v; what was written after its first read is %+v", first, found[0])
		}
		first = false
		tx.Put(c, []byte("w"))
		return err
	})
	if err != nil || took.Aborted != 1 {
		t.Errorf("%+v, %v: a transaction whose reads have changed must not be committed", took, err)
	}
}
