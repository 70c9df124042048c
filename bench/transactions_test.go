package bench

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// parted is a target whose partitions are by the last digit of the key.
type parted struct {
	*testTarget
	partitions int
}

func (p parted) Partition(key []byte) int { return int(key[len(key)-1]-'0') % p.partitions }

func TestTransactionWorkloads(t *testing.T) {
	for name, o := range map[string]Options{
		"bank":             {Workload: "bank", Bank: BankOptions{Accounts: 4}},
		"tx":               {Workload: "tx", Keys: 100, Tx: TxOptions{Hot: "8"}},
		"tx, reads":        {Workload: "tx", Keys: 100, Tx: TxOptions{Keys: 10, Reads: 1, Cross: 1}},
		"tx, half, zipf":   {Workload: "tx", Keys: 100, Tx: TxOptions{Keys: 3, Reads: 0.5, Cross: 0.5, Hot: HotZipf}},
		"tx, as it comes":  {Workload: "tx", Keys: 10, Tx: TxOptions{Keys: 4, Cross: CrossAny}},
		"list-append":      {Workload: "list-append", Keys: 2},
		"list-append, one": {Workload: "list-append", Keys: 1, Tx: TxOptions{Keys: 1, Reads: 0.1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Workers, o.Duration, o.Warmup = 4, 4*time.Second, time.Second
				var lines []string
				o.Observe.Progress = func(p Progress) { lines = append(lines, p.String()) }
				r := mustRun(t, parted{newTestTarget(time.Millisecond), 2}, o)
				if r.Verdict != VerdictOK || r.Total.Ops == 0 || r.Total.Errors != 0 {
					t.Fatalf("%s, %d operations, errors %+v: %v %v", r.Verdict, r.Total.Ops, r.Errors, r.Warnings, r.ViolationExamples)
				}
				checkEffort(t, r, lines)
				checkReport(t, r)
			})
		})
	}
}

// checkEffort looks at what is said of attempts, whether or not there were any.
func checkEffort(t *testing.T, r *Result, lines []string) {
	t.Helper()
	e := r.Total.Effort
	reads := r.Settings.TxReads == 1
	if (e.Attempts > 0) == reads || e.Attempts != e.Transactions+e.Retries || e.Aborts != e.Retries || e.Transactions > r.Total.Ops {
		t.Errorf("effort %+v of %d operations does not add up", e, r.Total.Ops)
	}
	if !reads && e.Aborts == 0 && r.Settings.Workload != "tx" {
		t.Error("four workers at a few keys were never in each other's way: nothing was tested")
	}
	if len(lines) == 0 || strings.Contains(lines[0], "attempts/tx") == reads {
		t.Errorf("lines of progress: %q", lines)
	}
}

// checkReport looks at the files and at the summary.
func checkReport(t *testing.T, r *Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r")
	if err := r.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	again, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Total != r.Total || *again.Settings.Dials != *r.Settings.Dials {
		t.Errorf("read %+v %+v, want %+v %+v", again.Total, *again.Settings.Dials, r.Total, *r.Settings.Dials)
	}
	var text bytes.Buffer
	if err := again.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "attempts/tx") || !strings.Contains(text.String(), r.Settings.Subject) {
		t.Errorf("the summary says nothing of attempts or of %q:\n%s", r.Settings.Subject, &text)
	}
	if err := r.WriteHTML(path); err != nil {
		t.Fatal(err)
	}
}

func TestBankAudits(t *testing.T) {
	for _, staleBy := range []time.Duration{-1, 0} {
		synctest.Test(t, func(t *testing.T) {
			o := Options{Workload: "bank", Workers: 2, Duration: 2 * time.Second, Warmup: -1, Bank: BankOptions{Accounts: 10, StaleBy: staleBy}}
			r := mustRun(t, newTestTarget(time.Millisecond), o)
			kinds := map[string]int64{}
			for _, b := range r.Beside {
				kinds[b.Kind] = b.Ops
			}
			if kinds["audit"] == 0 || (kinds["audit_stale"] > 0) != (staleBy == 0) || r.Audit.Checked != 10 {
				t.Errorf("stale by %v: audits %v, read back %+v", staleBy, kinds, r.Audit)
			}
			if len(r.Operations) != 1 || r.Operations[0].Kind != "transfer" || r.Total.Ops != r.Operations[0].Ops {
				t.Errorf("operations %+v, total %d: audits are no load", r.Operations, r.Total.Ops)
			}
		})
	}
}

// spoiledTx is a transaction whose reads or writes are not what they should be.
type spoiledTx struct {
	Tx
	put func(tx Tx, key, value []byte)
	get func([]Record)
}

func (s spoiledTx) Put(key, value []byte) {
	if s.put == nil {
		s.Tx.Put(key, value)
		return
	}
	s.put(s.Tx, key, value)
}

func (s spoiledTx) GetMany(ctx context.Context, keys ...[]byte) ([]Record, error) {
	found, err := s.Tx.GetMany(ctx, keys...)
	if s.get != nil {
		s.get(found)
	}
	return found, err
}

// Each case breaks what transactions promise; the run must say how.
func TestBrokenTransactionsMakeTheRunInvalid(t *testing.T) {
	for name, c := range map[string]struct {
		o     Options
		spoil func(*testTarget)
		want  string
	}{
		"a lost update of a bank": {Options{Workload: "bank"}, func(s *testTarget) {
			// Reads are not validated.
			s.onTx = func(tx Tx) Tx { return lostReads{tx} }
		}, violationBank},
		"half a transfer": {Options{Workload: "bank"}, func(s *testTarget) {
			var n atomic.Int64
			s.onTx = func(tx Tx) Tx {
				return spoiledTx{Tx: tx, put: func(tx Tx, key, value []byte) {
					if n.Add(1)%7 != 0 {
						tx.Put(key, value)
					}
				}}
			}
		}, violationBank},
		"an account that is gone": {Options{Workload: "bank"}, func(s *testTarget) {
			s.onView = func(_ [][]byte, found []Record) { s.Delete([]byte("account00003")) }
		}, violationBank},
		"a record that is gone": {Options{Workload: "tx", Keys: 10}, func(s *testTarget) {
			s.onTx = func(tx Tx) Tx { return spoiledTx{Tx: tx, get: func(f []Record) { f[0] = Record{} }} }
		}, violationMissing},
		"a damaged value in a snapshot": {Options{Workload: "tx", Keys: 10, Tx: TxOptions{Reads: 1}}, func(s *testTarget) {
			s.onView = func(_ [][]byte, found []Record) { found[1].Value = []byte("rubbish") }
		}, violationWrongValue},
		"an old value in a transaction": {Options{Workload: "tx", Keys: 2}, func(s *testTarget) {
			var mu sync.Mutex
			old := map[string]Record{}
			s.onTx = func(tx Tx) Tx {
				return spoiledTx{Tx: tx, get: func(found []Record) {
					mu.Lock()
					defer mu.Unlock()
					for i, r := range found {
						if first, ok := old[string(r.Key)]; ok {
							found[i] = first
						} else if r.Version > 2 {
							old[string(r.Key)] = r
						}
					}
				}}
			}
		}, violationStale},
		"a lost update of a list": {Options{Workload: "list-append", Keys: 2}, func(s *testTarget) {
			s.onTx = func(tx Tx) Tx { return lostReads{tx} }
		}, "incompatible order"},
		"a lost append": {Options{Workload: "list-append", Keys: 2, Tx: TxOptions{Keys: 1}}, func(s *testTarget) {
			var n atomic.Int64
			s.onTx = func(tx Tx) Tx {
				return spoiledTx{Tx: tx, put: func(tx Tx, key, value []byte) {
					if n.Add(1)%7 != 0 {
						tx.Put(key, value)
					}
				}}
			}
		}, "lost append"},
		"a list that is none": {Options{Workload: "list-append", Keys: 2}, func(s *testTarget) {
			s.onTx = func(tx Tx) Tx {
				return spoiledTx{Tx: tx, put: func(tx Tx, key, value []byte) { tx.Put(key, value[:len(value)-1]) }}
			}
		}, violationWrongValue},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := c.o
				o.Workers, o.Duration, o.Warmup, o.Bank.Accounts = 4, time.Second, -1, 5
				s := newTestTarget(time.Millisecond)
				c.spoil(s)
				r := mustRun(t, s, o)
				if r.Verdict != VerdictInvalid || r.Violations == 0 {
					t.Fatalf("verdict %s with %d violations, want INVALID", r.Verdict, r.Violations)
				}
				if !slices.ContainsFunc(r.ViolationExamples, func(s string) bool { return strings.HasPrefix(s, c.want+": ") }) {
					t.Errorf("violations %q, want one of %q", r.ViolationExamples, c.want)
				}
			})
		})
	}
}

// lostReads is a transaction whose reads nobody remembers: what it has read may change.
type lostReads struct{ Tx }

func (l lostReads) GetMany(ctx context.Context, keys ...[]byte) ([]Record, error) {
	tx := l.Tx.(*memoryTx)
	tx.seen = map[string]uint64{}
	found, err := tx.GetMany(ctx, keys...)
	clear(tx.seen)
	return found, err
}

// What a bank finds in place of its own accounts is no fault of the store.
func TestBankNeedsItsAccounts(t *testing.T) {
	m := NewMemory()
	o := Options{Workload: "bank", Duration: 10 * time.Millisecond, Warmup: -1, SkipLoad: true, Bank: BankOptions{Accounts: 3}}
	if _, err := Run(t.Context(), m, o); kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), "let it load them") {
		t.Errorf("without accounts: %v", err)
	}
	for i := range 3 {
		if err := m.Put(t.Context(), []byte("account0000"+strconv.Itoa(i)), []byte("1000")); err != nil {
			t.Fatal(err)
		}
	}
	if r := mustRun(t, m, o); r.Verdict != VerdictOK || r.Load != nil {
		t.Errorf("%s, loaded %+v", r.Verdict, r.Load)
	}
}

func TestTargetsWithoutTransactions(t *testing.T) {
	for _, w := range []string{"bank", "tx", "list-append"} {
		_, err := Run(t.Context(), struct{ Target }{NewMemory()}, Options{Workload: w})
		if kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), "no transactions") {
			t.Errorf("%s: %v", w, err)
		}
	}
}

// wrapped hides what a target can do but for Unwrap.
type wrapped struct {
	Target
	inner Target
}

func (w wrapped) Unwrap() Target { return w.inner }

func TestWrappedTargets(t *testing.T) {
	inner := parted{newTestTarget(0), 2}
	if p, ok := as[Partitioner](wrapped{inner, wrapped{inner, inner}}); !ok || p.Partition([]byte("3")) != 1 {
		t.Errorf("the partitions of a target that is wrapped twice: %v, %v", p, ok)
	}
	if _, ok := as[Partitioner](wrapped{NewMemory(), NewMemory()}); ok {
		t.Error("memory has partitions")
	}
}

// chosen runs the choice of a workload many times.
func chosen(t *testing.T, o Options, partitions int) [][]uint64 {
	t.Helper()
	o.Workload, o.Keys, o.Workers = "tx", 200, 1
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	w, err := newTxWorkload(&run{target: parted{newTestTarget(0), partitions}, options: o})
	if err != nil {
		t.Fatal(err)
	}
	j := w.job(0).(*txJob)
	all := make([][]uint64, 2000)
	for i := range all {
		j.choose()
		all[i] = slices.Clone(j.records)
	}
	return all
}

func TestTxChoice(t *testing.T) {
	const partitions = 5
	for name, c := range map[string]struct {
		tx          TxOptions
		least, most int // partitions of a transaction
		crossing    float64
		below       uint64
	}{
		"one partition":           {TxOptions{Keys: 3}, 1, 1, 0, 200},
		"across":                  {TxOptions{Keys: 2, Cross: 1}, 2, 2, 1, 200},
		"across all":              {TxOptions{Keys: 12, Cross: 1}, partitions, partitions, 1, 200},
		"half across":             {TxOptions{Keys: 2, Cross: 0.5}, 1, 2, 0.5, 200},
		"few records":             {TxOptions{Keys: 2, Cross: 0.5, Hot: "10"}, 1, 2, 0.5, 10},
		"zipfian, half across":    {TxOptions{Keys: 2, Cross: 0.5, Hot: HotZipf}, 1, 2, 0.5, 200},
		"by chance":               {TxOptions{Keys: 2, Cross: CrossAny}, 1, 2, 0.8, 200},
		"all records of a number": {TxOptions{Keys: 10, Cross: CrossAny, Hot: "10"}, partitions, partitions, 1, 10},
	} {
		crossed, count := 0, map[uint64]int{}
		for _, records := range chosen(t, Options{Tx: c.tx}, partitions) {
			in := map[int]bool{}
			for _, r := range records {
				key := ycsb.AppendKey(nil, r, ycsb.Ordered)
				in[parted{partitions: partitions}.Partition(key)] = true
				count[r]++
				if r >= c.below {
					t.Fatalf("%s: record %d of %d", name, r, c.below)
				}
			}
			slices.Sort(records)
			if len(slices.Compact(records)) != c.tx.Keys || len(in) < c.least || len(in) > c.most {
				t.Fatalf("%s: records %v in %d partitions", name, records, len(in))
			}
			if len(in) > 1 {
				crossed++
			}
		}
		if got := float64(crossed) / 2000; !near(got, c.crossing, 0.05) {
			t.Errorf("%s: %v of the transactions cross partitions, want %v", name, got, c.crossing)
		}
		if hot := c.tx.Hot == HotZipf; hot != (count[0]+count[1]+count[2]+count[3]+count[4] > 2000*c.tx.Keys/15) && c.below > 10 {
			t.Errorf("%s: the first records were chosen %v times", name, count[0])
		}
	}
}

func TestTxThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		o          Options
		partitions int
		want       string
	}{
		"one partition only": {Options{Tx: TxOptions{Cross: 0.1}}, 1, "in one partition"},
		"few in a partition": {Options{Tx: TxOptions{Keys: 5, Hot: "10"}}, 5, "too few"},
	} {
		c.o.Workload, c.o.Keys = "tx", 100
		if _, err := Run(t.Context(), parted{newTestTarget(0), c.partitions}, c.o); kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "tx", Keys: 10, Duration: time.Second, Warmup: -1, Tx: TxOptions{Cross: 1}}
		if r := mustRun(t, newTestTarget(time.Millisecond), o); !slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "no effect") }) {
			t.Errorf("a target that has no partitions: %q", r.Warnings)
		}
	})
}

// Lists that are long enough are left alone, and all of them are read at the end.
func TestListsAreRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "list-append", Keys: 1, Workers: 1, Duration: 2 * time.Second, Warmup: -1, Tx: TxOptions{Keys: 1, Reads: 0.01}}
		r := mustRun(t, newTestTarget(time.Millisecond), o)
		h := r.History
		if h == nil || h.Lists < 5 || h.Unread != 0 || h.Findings != 0 || h.Committed != h.Transactions || h.Committed < int(r.Total.Ops) {
			t.Errorf("history %+v of %d operations", h, r.Total.Ops)
		}
	})
}

// A commit whose answer was lost is unknown, and no finding.
func TestUnknownOutcomesOfLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "list-append", Keys: 2, Workers: 4, Duration: time.Second, Warmup: -1}
		s := &forgetful{testTarget: newTestTarget(time.Millisecond)}
		r := mustRun(t, s, o)
		if r.Verdict != VerdictOK || r.History.Unknown == 0 || r.Total.Errors == 0 || r.Errors[0].Kind != "ambiguous" {
			t.Errorf("%s, history %+v, errors %+v: %q", r.Verdict, r.History, r.Errors, r.ViolationExamples)
		}
	})
}

// forgetful loses the answer to every tenth commit.
type forgetful struct {
	*testTarget
	n atomic.Int64
}

func (f *forgetful) Update(ctx context.Context, fn func(context.Context, Tx) error) (Attempts, error) {
	took, err := f.testTarget.Update(ctx, fn)
	if f.n.Add(1)%10 == 0 && err == nil {
		err = kv.Errorf(kv.Ambiguous, "the answer was lost")
	}
	return took, err
}

func TestParseLists(t *testing.T) {
	x := interner{longest: map[uint64][]check.Element{}}
	long, err := x.parse(1, Record{Value: []byte("1 22 333 ")})
	if err != nil || !slices.Equal(long, []check.Element{1, 22, 333}) {
		t.Errorf("%v, %v", long, err)
	}
	if short, err := x.parse(1, Record{Value: []byte("1 22 ")}); err != nil || &short[0] != &long[0] || len(short) != 2 {
		t.Errorf("%v, %v: a beginning of what is known needs no memory", short, err)
	}
	if other, err := x.parse(1, Record{Value: []byte("1 5 ")}); err != nil || !slices.Equal(other, []check.Element{1, 5}) {
		t.Errorf("%v, %v", other, err)
	}
	if none, err := x.parse(1, Record{}); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	for _, bad := range []string{"1", " ", "1  2 ", "x ", "-1 ", "12345678901234567890 "} {
		if got, err := x.parse(1, Record{Value: []byte(bad)}); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
