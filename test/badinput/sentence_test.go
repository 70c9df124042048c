package badinput

import (
	"testing"

	"github.com/kvd-db/kvd/test/cluster"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		said string
		code int
		good bool
	}{
		{"kvcli: key bytes is 9000, the limit is 8192: use a shorter key\n", 1, true},
		{"kvcli: key bytes is 9000, the limit is 8192: use a shorter key\n", 2, false},
		{"kvcli: rpc error: code = Unknown desc = 9000, the limit is 8192\n", 1, false},
		{"kvcli: the key is too long\n", 1, false},
		{"9000, the limit is 8192\n", 1, false},
		{"", 1, false},
	} {
		err := judge(cluster.Result{Stderr: c.said, Code: c.code}, 1, "9000", "8192")
		if (err == nil) != c.good {
			t.Errorf("%q, exit code %d: %v", c.said, c.code, err)
		}
	}
}
