package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
)

// Options say what a run does. The zero value of a field is its default.
type Options struct {
	Workload   string        // one of Workloads; default put
	Keys       int           // records, loaded before the run; default 100 000
	ValueBytes int           // length of each value; default 100
	Workers    int           // operations in flight at most; default 64
	Duration   time.Duration // of the measured part; default 30 s
	Warmup     time.Duration // before it; negative: none; default a tenth of Duration, 10 s at most
	Rate       float64       // open loop: operations a second; 0: closed loop
	Poisson    bool          // open loop: random arrivals with the mean of Rate, not evenly spaced ones
	Seed       uint64        // of the operations; default 1
	OpTimeout  time.Duration // of one operation with all its retries; default 10 s
	SkipLoad   bool          // the records are there already
	Observe    Observe
}

// Observe says what a run reports while it goes, and which servers it watches.
type Observe struct {
	Progress func(Progress) // called once a second; nil: never
	PIDs     []int          // server processes whose CPU time is counted
	Device   string         // a block device (vda) or a directory on it; "": not counted
	Command  []string       // how the run was started, for the result
}

// Limits of the options.
const (
	WorkersMax   = 100_000
	KeysMax      = 1_000_000_000
	OpTimeoutMax = 5 * time.Minute
)

// Workloads are the names of all workloads.
func Workloads() []string {
	return []string{"put", "get", "scan", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"}
}

// mixOf is the mix of a workload. put, get and scan choose records evenly; a scan reads
// 100 records from an ordered key on.
func mixOf(workload string) (ycsb.Mix, error) {
	m := ycsb.Mix{Name: workload, Request: ycsb.Uniform, Order: ycsb.Ordered, ScanMin: 100, ScanMax: 100}
	switch workload {
	case "put":
		m.Shares[ycsb.Update] = 1
		return m, nil
	case "get":
		m.Shares[ycsb.Read] = 1
		return m, nil
	case "scan":
		m.Shares[ycsb.Scan] = 1
		return m, nil
	}
	if letter, ok := strings.CutPrefix(workload, "ycsb-"); ok && slices.Contains(Workloads(), workload) {
		return ycsb.Core(letter)
	}
	return ycsb.Mix{}, kv.Errorf(kv.Invalid, "there is no workload %q: they are %s", workload, strings.Join(Workloads(), " "))
}

// WithDefaults fills in what is zero.
func (o Options) WithDefaults() Options {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&o.Keys, 100_000)
	set(&o.ValueBytes, 100)
	set(&o.Workers, 64)
	if o.Workload == "" {
		o.Workload = "put"
	}
	if o.Duration == 0 {
		o.Duration = 30 * time.Second
	}
	switch {
	case o.Warmup == 0:
		o.Warmup = min(o.Duration/10, 10*time.Second)
	case o.Warmup < 0:
		o.Warmup = 0
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.OpTimeout == 0 {
		o.OpTimeout = 10 * time.Second
	}
	return o
}

// Validate says what is wrong with options that have their defaults.
func (o Options) Validate() error {
	if _, err := mixOf(o.Workload); err != nil {
		return err
	}
	for _, c := range []struct {
		name       string
		got        int64
		low, high  int64
		unitOfText string
	}{
		{"keys", int64(o.Keys), 1, KeysMax, ""},
		{"value-bytes", int64(o.ValueBytes), ValueBytesMin, kv.ValueBytesMax, " (a value carries its own description)"},
		{"workers", int64(o.Workers), 1, WorkersMax, ""},
		{"duration in ms", o.Duration.Milliseconds(), 1, (30 * 24 * time.Hour).Milliseconds(), ""},
		{"op-timeout in ms", o.OpTimeout.Milliseconds(), 1, OpTimeoutMax.Milliseconds(), ""},
	} {
		if c.got < c.low || c.got > c.high {
			return kv.Errorf(kv.Invalid, "%s is %d, it must lie in %d..%d%s", c.name, c.got, c.low, c.high, c.unitOfText)
		}
	}
	if o.Rate < 0 || o.Rate > 10_000_000 {
		return kv.Errorf(kv.Invalid, "rate is %v operations a second, it must lie in 0..10000000", o.Rate)
	}
	return nil
}

// Mode is how operations are started.
func (o Options) Mode() string {
	switch {
	case o.Rate == 0:
		return "closed"
	case o.Poisson:
		return "open (poisson)"
	}
	return "open (constant)"
}

// title is one line on what is run.
func (o Options) title() string {
	s := fmt.Sprintf("%s, %d workers, %d keys, %d-byte values, %s loop", o.Workload, o.Workers, o.Keys, o.ValueBytes, o.Mode())
	if o.Rate > 0 {
		s += fmt.Sprintf(" at %g op/s", o.Rate)
	}
	return s
}
