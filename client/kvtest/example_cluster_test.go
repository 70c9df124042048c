package kvtest_test

import (
	"testing"

	"github.com/kvd-db/kvd/client/kvtest"
)

// survives is a test of what goes on while nodes come and go.
func survives(t *testing.T) {
	cluster := kvtest.NewCluster(t, 3)
	c := cluster.Client()
	put := func(value string) {
		t.Helper()
		if _, err := c.Put(t.Context(), []byte("k"), []byte(value)); err != nil {
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
	if p, err := c.Get(t.Context(), []byte("k")); err != nil || string(p.Value) != "three" {
		t.Errorf("%s, %v", p.Value, err)
	}
}

func ExampleCluster() {
	_ = survives // in a file of tests: func TestSurvives(t *testing.T)
}
