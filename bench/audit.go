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

// audit reads back some of the writes that each worker saw acknowledged. A lost one is
// found even by a workload that only writes.
func (r *run) audit(ctx context.Context) *AuditResult {
	if !r.mix.Writes() {
		return nil
	}
	a := &AuditResult{}
	each := max(1, auditReadsMax/len(r.workers))
	for _, w := range r.workers {
		if a.Checked+a.Errors >= auditReadsMax || ctx.Err() != nil {
			break
		}
		w.audit(ctx, each, a)
	}
	return a
}

func (w *worker) audit(ctx context.Context, most int, a *AuditResult) {
	for _, e := range w.ledger.acked {
		if most == 0 || ctx.Err() != nil {
			return
		}
		if e.recordPlus1 == 0 {
			continue
		}
		most--
		record := e.recordPlus1 - 1
		w.key = ycsb.AppendKey(w.key[:0], record, w.run.mix.Order)
		readCtx, cancel := context.WithTimeout(ctx, w.run.options.OpTimeout)
		_, err := w.read(readCtx, record)
		cancel()
		if err != nil && !errors.Is(err, ErrNotFound) {
			a.Errors++
			continue
		}
		a.Checked++
	}
}
