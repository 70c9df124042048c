package bench

import (
	"fmt"
	"strconv"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Options say what a run does. The zero value of a field is its default.
type Options struct {
	Workload   string        // one of Workloads; default put
	Keys       int           // records, loaded before the run; default 100 000. list-append: lists at a time; default 16
	ValueBytes int           // length of each value; default 100
	Workers    int           // operations in flight at most; default 64
	Duration   time.Duration // of the measured part; default 30 s
	Warmup     time.Duration // before it; negative: none; default a tenth of Duration, 10 s at most
	Rate       float64       // open loop: operations a second; 0: closed loop
	Poisson    bool          // open loop: random arrivals with the mean of Rate, not evenly spaced ones
	Seed       uint64        // of the operations; default 1
	OpTimeout  time.Duration // of one operation with all its retries; default 10 s
	SkipLoad   bool          // the records are there already
	Ordered    bool          // ycsb: keys in the order of the records, so that the end of a scan is known
	Bank       BankOptions
	Tx         TxOptions
	Observe    Observe
}

// BankOptions are the dials of bank.
type BankOptions struct {
	Accounts int // default 100
	// StaleBy is how old the state is that every other audit reads; default 1 s, negative: none.
	StaleBy time.Duration
}

// TxOptions are the dials of tx, and the first two of list-append.
type TxOptions struct {
	// Keys is how many keys a transaction names; default 2. list-append: how many operations it
	// has at most; default 4.
	Keys int
	// Reads is the share of the keys that are only read; the others are read and written. A
	// transaction that only reads is a snapshot. Default 0. list-append: the share of operations
	// that read and do not append; default 0.5.
	Reads float64
	// Cross is the share of transactions whose keys are spread evenly over all partitions; those
	// of the others lie in one. CrossAny leaves it to chance. A target that is no Partitioner
	// has one partition. Default 0.
	Cross float64
	// Hot is which records take part, for contention: a number of them, all of which are equally
	// hot, "zipf" for all with a zipfian choice, "" for all.
	Hot string
}

// CrossAny is the TxOptions.Cross of keys that lie where they lie.
const CrossAny = -1

// HotZipf is the TxOptions.Hot of a zipfian choice.
const HotZipf = "zipf"

// Observe says what a run reports while it goes, and which servers it watches.
type Observe struct {
	Progress func(Progress) // called once a second; nil: never
	PIDs     []int          // server processes whose CPU time is counted, with that of their children
	Device   string         // a block device (vda) or a directory on it; "": not counted
	Command  []string       // how the run was started, for the result
}

// Limits of the options.
const (
	WorkersMax   = 100_000
	KeysMax      = 1_000_000_000
	OpTimeoutMax = 5 * time.Minute
	AccountsMax  = 10_000
	TxKeysMax    = 1_000
	// TxRecordsMax bounds the records of tx: the partition of each is held in memory.
	TxRecordsMax = 10_000_000
)

// WithDefaults fills in what is zero.
func (o Options) WithDefaults() Options {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if o.Workload == workloadLists {
		set(&o.Keys, 16)
		set(&o.Tx.Keys, 4)
		if o.Tx.Reads == 0 {
			o.Tx.Reads = 0.5
		}
	}
	set(&o.Keys, 100_000)
	set(&o.Bank.Accounts, 100)
	set(&o.Tx.Keys, 2)
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
	if o.Bank.StaleBy == 0 {
		o.Bank.StaleBy = time.Second
	}
	if o.OpTimeout == 0 {
		o.OpTimeout = 10 * time.Second
	}
	return o
}

// Validate says what is wrong with options that have their defaults.
func (o Options) Validate() error {
	if err := checkWorkload(o.Workload); err != nil {
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
		{"accounts", int64(o.Bank.Accounts), 2, AccountsMax, " (money is moved between two)"},
		{"tx-keys", int64(o.Tx.Keys), 1, TxKeysMax, ""},
	} {
		if c.got < c.low || c.got > c.high {
			return kv.Errorf(kv.Invalid, "%s is %d, it must lie in %d..%d%s", c.name, c.got, c.low, c.high, c.unitOfText)
		}
	}
	if o.Rate < 0 || o.Rate > 10_000_000 {
		return kv.Errorf(kv.Invalid, "rate is %v operations a second, it must lie in 0..10000000", o.Rate)
	}
	return o.Tx.validate(o)
}

func (x TxOptions) validate(o Options) error {
	if !(x.Reads >= 0 && x.Reads <= 1) {
		return kv.Errorf(kv.Invalid, "tx-reads is %v, it is a share of the keys: it must lie in 0..1", x.Reads)
	}
	if x.Cross != CrossAny && !(x.Cross >= 0 && x.Cross <= 1) {
		return kv.Errorf(kv.Invalid, "tx-cross is %v, it is a share of the transactions: it must lie in 0..1, or be %d to leave it to chance", x.Cross, CrossAny)
	}
	if _, _, err := x.hot(o.Keys); err != nil {
		return err
	}
	if o.Workload != workloadTx {
		return nil
	}
	switch n, _, _ := x.hot(o.Keys); {
	case n > TxRecordsMax:
		return kv.Errorf(kv.Invalid, "%d records take part, tx holds a table of them: there must not be more than %d", n, TxRecordsMax)
	case n < x.Keys:
		return kv.Errorf(kv.Invalid, "transactions of %d keys over %d records: there must be at least as many records", x.Keys, n)
	}
	return nil
}

// hot is how many records take part, and whether their choice is zipfian.
func (x TxOptions) hot(keys int) (records int, zipf bool, err error) {
	switch x.Hot {
	case "":
		return keys, false, nil
	case HotZipf:
		return keys, true, nil
	}
	n, err := strconv.Atoi(x.Hot)
	if err != nil || n < 1 {
		return 0, false, kv.Errorf(kv.Invalid, "tx-hot is %q: it is a number of records, or %s for a zipfian choice among all", x.Hot, HotZipf)
	}
	return min(n, keys), false, nil
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
	s := fmt.Sprintf("%s, %d workers, %s, %s loop", o.Workload, o.Workers, o.subject(), o.Mode())
	if o.Rate > 0 {
		s += fmt.Sprintf(" at %g op/s", o.Rate)
	}
	return s
}

// subject is what the operations work on.
func (o Options) subject() string {
	x := o.Tx
	switch o.Workload {
	case workloadBank:
		return fmt.Sprintf("%d accounts", o.Bank.Accounts)
	case workloadLists:
		return fmt.Sprintf("%d lists, 1..%d operations a transaction, %g of them reads", o.Keys, x.Keys, x.Reads)
	}
	s := fmt.Sprintf("%d keys, %d-byte values", o.Keys, o.ValueBytes)
	if o.Workload != workloadTx {
		return s
	}
	s += fmt.Sprintf(", %d keys a transaction, %g of them only read", x.Keys, x.Reads)
	if x.Cross == CrossAny {
		s += ", partitions by chance"
	} else {
		s += fmt.Sprintf(", %g across partitions", x.Cross)
	}
	if x.Hot != "" {
		s += ", hot: " + x.Hot
	}
	return s
}
