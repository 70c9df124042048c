package kvtest_test

import (
	"context"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// A test of code that must not pay twice, whatever is lost on the way.
func ExampleCluster_FailNextCommit() {
	_ = func(t *testing.T) {
		cluster := kvtest.NewServer(t)
		c := cluster.Client()
		cluster.FailNextCommit(kvtest.AfterCommitPoint)
		_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			tx.Add([]byte("paid"), 1)
			return nil
		})
		p, _ := c.Get(t.Context(), []byte("paid"))
		if err != nil || string(p.Value) != "1" {
			t.Errorf("paid %s times, %v", p.Value, err)
		}
	}
}
