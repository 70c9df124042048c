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
	cluster.MoveLeader("other", key, 1)
	put(t, c, "k", "0")
	put(t, other, "k", "0") // the client knows who leads
	cluster.MoveLeader("other", key, 2)

	commit := func(overtaken bool) (participants []client.RPCInfo) {
		var trace client.Trace
		_, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
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
	if p := commit(false); len(p) != 1 || zones[p[0].Node] != "zone=2" || p[0].Err != nil {
		t.Errorf("%v: %+v", zones, p)
	}
	if p := commit(true); len(p) != 2 || zones[p[0].Node] != "zone=2" || kv.KindOf(p[0].Err) != kv.Conflict || p[1].Err != nil {
		t.Errorf("%v: %+v", zones, p)
	}
}
