package kvtest_test

import (
	"context"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
	"github.com/kvd-db/kvd/kv"
)

// TestTraceSaysWho: a participant says on which node it is, also where the client believes another one to lead; so
// does one that refuses.
func TestTraceSaysWho(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for leaders")
	}
	cluster := kvtest.NewClusterAt(t, "zone=0", "zone=1", "zone=2")
	c := cluster.Client()
	if err := c.Admin().CreateKeyspace(t.Context(), "other", client.ByRange()); err != nil {
		t.Fatal(err)
	}
	other := c.In("other")
	status, err := c.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string]string{}
	for _, n := range status.Nodes {
		zones[n.Info.Address] = n.Info.Locality
	}
	key := []byte("k")
	cluster.MoveLeader("default", key, 0)
	commit := func(ctx context.Context, overtaken bool) (participants []client.RPCInfo) {
		var trace client.Trace
		_, err := c.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
			tx.Put(key, []byte("1"))
			tx = tx.In("other")
			if overtaken && tx.Attempt() == 1 {
				if _, err := tx.Get(ctx, key); err != nil {
					return err
				}
				put(t, cluster.Client().In("other"), "k", "2")
			}
			tx.Put(key, []byte("3"))
			return nil
		}, client.WithTrace(&trace))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range trace.Spans {
			if s.Role == client.RoleParticipant && s.Elapsed > 0 {
				participants = append(participants, s)
			}
		}
		return participants
	}
	// A commit may be refused once more than is meant, and a leader may move by itself: then it is tried again.
	in2 := func(s *client.RPCInfo, kind kv.Kind) bool {
		return zones[s.Node] == "zone=2" && kv.KindOf(s.Err) == kind
	}
	until(t, "a participant on the node that the client does not know to lead", func(ctx context.Context) bool {
		cluster.MoveLeader("other", key, 1)
		put(t, c, "k", "0")
		put(t, other, "k", "0") // the client knows who leads
		cluster.MoveLeader("other", key, 2)
		p := commit(ctx, false)
		t.Logf("%v: %+v", zones, p)
		return len(p) == 1 && in2(&p[0], 0)
	})
	until(t, "a participant that refuses, and then does not", func(ctx context.Context) bool {
		p := commit(ctx, true)
		t.Logf("%v: %+v", zones, p)
		return len(p) == 2 && in2(&p[0], kv.Conflict) && in2(&p[1], 0)
	})
}
