package kvtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
)

// survives is a test of what goes on while nodes come and go.
func survives(t *testing.T) {
	cluster := kvtest.NewCluster(t, 3)
	c := cluster.Client()
	patient := func() context.Context { // elections take their time on a busy machine
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		return ctx
	}
	put := func(value string) {
		t.Helper()
		_, err := c.Update(patient(), func(_ context.Context, tx *client.Tx) error { // unlike Put it tries again
			tx.Put([]byte("k"), []byte(value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cluster.MoveLeader("default", []byte("k"), 0)
	put("one")
	cluster.Partition(0) // it does not know, and still believes that it leads
	put("two")
	cluster.Heal(0)
	cluster.Kill(1)
	put("three")
	cluster.Restart(1)
	if p, err := c.Get(patient(), []byte("k")); err != nil || string(p.Value) != "three" {
		t.Errorf("%s, %v", p.Value, err)
	}
}

func ExampleCluster() {
	_ = survives // in a file of tests: func TestSurvives(t *testing.T)
}
