package bench

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"workload":    {Workload: "bogus"},
		"short value": {ValueBytes: 31},
		"no workers":  {Workers: -1},
		"rate":        {Rate: -1},
		"keys":        {Keys: -1},
		"duration":    {Duration: -time.Second},
		"letter":      {Workload: "ycsb-g"},
	} {
		if err := o.WithDefaults().Validate(); kv.KindOf(err) != kv.Invalid {
			t.Errorf("%s: %v, want an error of kind Invalid", name, err)
		}
	}
	if err := (Options{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
}
