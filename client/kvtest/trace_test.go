package kvtest_test

import (
	"context"
	"fmt"
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
	key := []byte("k")
	zones := map[string]string{}
	// settle has the first write's partition led where the core is, so that it is the anchor (docs/adr/0022), and is the
	// position of that node.
	settle := func() (at int) {
		status, err := c.Admin().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range status.Nodes {
			zones[n.Info.Address] = n.Info.Locality
			if n.Info.ID == status.CoreLeader {
				fmt.Sscanf(n.Info.Locality, "zone=%d", &at)
			}
		}
		cluster.MoveLeader("default", key, at)
		return at
	}
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
	in := func(s *client.RPCInfo, position int, kind kv.Kind) bool {
		return zones[s.Node] == fmt.Sprintf("zone=%d", position) && kv.KindOf(s.Err) == kind
	}
	until(t, "a participant on the node that the client does not know to lead", func(ctx context.Context) bool {
		at := settle()
		believed, leads := (at+1)%3, (at+2)%3
		cluster.MoveLeader("other", key, believed)
		put(t, c, "k", "0")
		put(t, other, "k", "0") // the client knows who leads
		cluster.MoveLeader("other", key, leads)
		p := commit(ctx, false)
		t.Logf("%v: %+v", zones, p)
		return len(p) == 1 && in(&p[0], leads, 0)
	})
	until(t, "a participant that refuses, and then does not", func(ctx context.Context) bool {
		leads := (settle() + 2) % 3
		cluster.MoveLeader("other", key, leads)
		p := commit(ctx, true)
		t.Logf("%v: %+v", zones, p)
		return len(p) == 2 && in(&p[0], leads, kv.Conflict) && in(&p[1], leads, 0)
	})
}
