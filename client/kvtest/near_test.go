package kvtest_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// asked is which nodes reads went to, by their zones: "-" was added to those that did not answer.
type asked struct {
	mu    sync.Mutex
	zones map[string]string // by address
	list  []string
}

func (a *asked) hear(_ context.Context, i client.RPCInfo) {
	if i.Method != "read" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	zone := a.zones[i.Node]
	if i.Err != nil {
		zone += "-"
	}
	a.list = append(a.list, zone)
}

// take is whom was asked since the last time.
func (a *asked) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// TestReadsGoAround: reads of the past go to the nearest replica that can serve. While that one lags, or cannot be
// reached, another near one serves, and not the leader far away, which may be dead.
func TestReadsGoAround(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for links and leaders")
	}
	cluster := kvtest.NewClusterAt(t, "region=b,zone=far", "region=a,zone=home", "region=a,zone=near")
	a := &asked{zones: map[string]string{}}
	c := cluster.Client(client.WithLocality("region=a,zone=home"), client.WithHooks(client.Hooks{RPC: a.hear}))
	status, err := c.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	for _, n := range status.Nodes {
		a.zones[n.Info.Address] = n.Info.Locality[len("region=a,zone="):]
	}
	a.mu.Unlock()
	cluster.MoveLeader("default", []byte("k"), 0)
	first := put(t, c, "k", "first")
	// reads tries until a read goes to the zones; each reads a value, wherever it goes.
	reads := func(what, want string, bound client.ReadOption, zones ...string) {
		t.Helper()
		var got []string
		defer func() {
			if t.Failed() {
				t.Logf("%s: the last read went to %q", what, got)
			}
		}()
		until(t, what, func(ctx context.Context) bool {
			a.take()
			p, err := c.Get(ctx, []byte("k"), bound)
			if err != nil || string(p.Value) != want {
				t.Fatalf("%s: %q, %v", what, p.Value, err)
			}
			got = a.take()
			return slices.Equal(got, zones)
		})
	}
	at, bounded := client.WithBound(client.At(first)), client.WithBound(client.NotBefore(first))
	reads("the nearest serves", "first", at, "home")
	reads("the nearest serves what is new enough", "first", bounded, "home")

	cluster.Lag(1)
	cluster.Advance(time.Minute)
	second := put(t, c, "k", "second")
	at2, bounded2 := client.WithBound(client.At(second)), client.WithBound(client.NotBefore(second))
	reads("while the nearest lags another serves", "second", at2, "near")
	reads("and it is asked again now and then", "second", at2, "home-", "near")
	reads("and so with a bound", "second", bounded2, "near")
	reads("what the nearest has it still serves", "first", at, "home")
	cluster.Heal(1)
	reads("once it has caught up it serves", "second", at2, "home")
	reads("and so with a bound", "second", bounded2, "home")

	cluster.Partition(1)
	reads("while the nearest cannot be reached another serves", "second", at2, "near")
	reads("and it is tried now and then", "second", bounded2, "home-", "near")
	cluster.Kill(0)
	reads("without a leader a near one serves", "second", at2, "near")
	reads("and so with a bound", "second", bounded2, "near")
	cluster.Restart(0)
	cluster.Heal(1)
	reads("once it is reached it serves", "second", at2, "home")
}
