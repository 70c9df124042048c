package bench

import (
	"context"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// workload is what a run does: it makes the jobs of the workers, and judges at the end.
type workload interface {
	// load puts in place what the run needs; nil if it needs nothing.
	load(ctx context.Context) (*LoadResult, error)
	// begin is the last step before the clock starts, whether the records were loaded or not.
	begin(ctx context.Context) error
	// job is what the worker of a number does.
	job(number int) job
	// beside is what goes on all the time next to the workers; nil: nothing.
	beside() job
	// finish reads back what can be read back; nil if there is nothing to read.
	finish(ctx context.Context) *AuditResult
	// distribution says how records are chosen.
	distribution() string
}

// job does one operation after another, for one goroutine.
type job interface {
	// operate does the next operation and fills in all of the sample but its times.
	operate(ctx context.Context, s *sample)
}

// plain is a workload with nothing but jobs.
type plain struct{}

func (plain) load(context.Context) (*LoadResult, error) { return nil, nil }
func (plain) begin(context.Context) error               { return nil }
func (plain) beside() job                               { return nil }
func (plain) distribution() string                      { return "uniform" }

// Names of the workloads that are no mix of operations on single records.
const (
	workloadBank  = "bank"
	workloadTx    = "tx"
	workloadLists = "list-append"
)

// Workloads are the names of all workloads.
func Workloads() []string {
	return []string{
		"put", "get", "scan", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f",
		workloadBank, workloadTx, workloadLists,
	}
}

// newWorkload makes the workload of a run.
func newWorkload(r *run) (workload, error) {
	switch r.options.Workload {
	case workloadBank:
		return newBank(r)
	case workloadTx:
		return newTxWorkload(r)
	case workloadLists:
		return newLists(r)
	}
	return newRecordWorkload(r)
}

// checkWorkload says whether there is a workload of a name.
func checkWorkload(name string) error {
	switch name {
	case workloadBank, workloadTx, workloadLists:
		return nil
	}
	_, err := mixOf(name)
	return err
}

func noSuchWorkload(name string) error {
	return kv.Errorf(kv.Invalid, "there is no workload %q: they are %s", name, strings.Join(Workloads(), " "))
}
