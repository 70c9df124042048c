package bench

import (
	"math"
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
		"accounts":    {Bank: BankOptions{Accounts: 1}},
		"tx-keys":     {Tx: TxOptions{Keys: -1}},
		"tx-reads":    {Tx: TxOptions{Reads: 1.1}},
		"no number":   {Tx: TxOptions{Reads: math.NaN()}},
		"tx-cross":    {Tx: TxOptions{Cross: -0.5}},
		"tx-hot":      {Tx: TxOptions{Hot: "many"}},
		"few records": {Workload: "tx", Tx: TxOptions{Keys: 5, Hot: "4"}},
		"too many":    {Workload: "tx", Keys: 20_000_000},
	} {
		if err := o.WithDefaults().Validate(); kv.KindOf(err) != kv.Invalid {
			t.Errorf("%s: %v, want an error of kind Invalid", name, err)
		}
	}
	if err := (Options{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
}
