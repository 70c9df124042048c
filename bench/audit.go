package bench

import (
	"context"
	"errors"

	"github.com/kvd-db/kvd/bench/ycsb"
)

// AuditResult is what was read back after the measured part: keys whose write the store
// had acknowledged.
type AuditResult struct {
	Checked int `json:"checked"`
	Errors  int `json:"errors"` // reads that failed; these keys were not checked
}

// auditReadsMax bounds the keys that are read back.
const auditReadsMax = 1024

// finish reads back some of the writes that each worker saw acknowledged. A lost one is
// found even by a workload that only writes.
func (w *recordWorkload) finish(ctx context.Context) *AuditResult {
	if !w.mix.Writes() {
		return nil
	}
	return readBack(ctx, w.jobs)
}

func readBack(ctx context.Context, jobs []*recordJob) *AuditResult {
	a := &AuditResult{}
	each := max(1, auditReadsMax/len(jobs))
	for _, j := range jobs {
		if a.Checked+a.Errors >= auditReadsMax || ctx.Err() != nil {
			break
		}
		j.audit(ctx, each, a)
	}
	return a
}

func (j *recordJob) audit(ctx context.Context, most int, a *AuditResult) {
	for _, e := range j.ledger.acked {
		if most == 0 || ctx.Err() != nil {
			return
		}
		if e.recordPlus1 == 0 {
			continue
		}
		most--
		record := e.recordPlus1 - 1
		j.key = ycsb.AppendKey(j.key[:0], record, j.workload.mix.Order)
		readCtx, cancel := context.WithTimeout(ctx, j.workload.run.options.OpTimeout)
		_, err := j.read(readCtx, record)
		cancel()
		if err != nil && !errors.Is(err, ErrNotFound) {
			a.Errors++
			continue
		}
		a.Checked++
	}
}
