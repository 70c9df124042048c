package kvtest_test

import (
	"context"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// paysOnce is a test of code that must not pay twice, whatever is lost on the way.
func paysOnce(t *testing.T) {
	for _, when := range []kvtest.When{kvtest.BeforeCommitPoint, kvtest.AfterCommitPoint} {
		cluster := kvtest.NewServer(t)
		c := cluster.Client()
		cluster.FailNextCommit(when)
		commit, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			tx.Add([]byte("paid"), 1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Get(t.Context(), []byte("paid"))
		if err != nil || string(p.Value) != "1" {
			t.Errorf("paid %s times, %v", p.Value, err)
		}
		outcome, err := c.Outcome(t.Context(), commit.ID)
		if err != nil || outcome != client.Committed {
			t.Errorf("%v, %v", outcome, err)
		}
	}
}

func ExampleWhen() {
	_ = paysOnce // in a file of tests: func TestPaysOnce(t *testing.T)
}
