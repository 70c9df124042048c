package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// What the accounts of a bank hold at first, and how much a transfer moves at most.
const (
	balanceAtFirst = 1000
	transferMax    = 10
)

// bank is money that is moved between accounts, of which none may be made or lost. Beside
// the workers an auditor adds up all accounts again and again.
type bank struct {
	plain
	run      *run
	tx       Transactor
	accounts [][]byte
	total    int64
	// since is when all accounts were there: what was before says nothing.
	since uint64
}

func newBank(r *run) (*bank, error) {
	b := &bank{run: r, total: int64(r.options.Bank.Accounts) * balanceAtFirst}
	var err error
	for i := range r.options.Bank.Accounts {
		b.accounts = append(b.accounts, fmt.Appendf(nil, "account%05d", i))
	}
	b.tx, err = transactorOf(r.target)
	return b, err
}

func (b *bank) load(ctx context.Context) (*LoadResult, error) {
	return loadPairs(ctx, b.run.target, b.run.options, len(b.accounts), func(n int, key, value []byte) ([]byte, []byte) {
		return append(key, b.accounts[n]...), strconv.AppendInt(value, balanceAtFirst, 10)
	})
}

// begin finds out since when the accounts are there. If they are not those of the options,
// the sum cannot be right.
func (b *bank) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.run.options.OpTimeout)
	defer cancel()
	at, found, err := b.tx.View(ctx, b.accounts, 0)
	if err != nil {
		return err
	}
	b.since = at
	if problems := b.judge(found); b.run.options.SkipLoad && len(problems) > 0 {
		return kv.Errorf(kv.Invalid, "the accounts that are there are not those of this run (%s): let it load them", strings.Join(problems, ", "))
	}
	b.audited("the first audit", at, found)
	return nil
}

func (b *bank) job(number int) job {
	return &bankJob{bank: b, rand: rand.New(rand.NewPCG(b.run.options.Seed, uint64(number)))}
}

func (b *bank) beside() job { return &auditor{bank: b, stale: b.run.options.Bank.StaleBy} }

// finish adds up once more.
func (b *bank) finish(ctx context.Context) *AuditResult {
	ctx, cancel := context.WithTimeout(ctx, b.run.options.OpTimeout)
	defer cancel()
	at, found, err := b.tx.View(ctx, b.accounts, 0)
	if err != nil {
		return &AuditResult{Errors: len(b.accounts)}
	}
	b.audited("the last audit", at, found)
	return &AuditResult{Checked: len(b.accounts)}
}

// audited notes what is wrong with what an audit has found.
func (b *bank) audited(name string, at uint64, found []Record) {
	for _, p := range b.judge(found) {
		b.run.bad.add(violationBank, "%s, at %d: %s", name, at, p)
	}
}

// judge says what is wrong with all accounts as they were at one time.
func (b *bank) judge(found []Record) (problems []string) {
	sum := int64(0)
	for i, r := range found {
		n, err := balanceOf(b.accounts[i], r)
		if err != nil {
			problems = append(problems, err.Error())
		}
		sum += n
	}
	if sum != b.total {
		problems = append(problems, fmt.Sprintf("%d accounts hold %d, not %d", len(b.accounts), sum, b.total))
	}
	return problems
}

// balanceOf reads an account.
func balanceOf(account []byte, r Record) (int64, error) {
	if r.Version == 0 {
		return 0, kv.Errorf(kv.Corruption, "%s is not there", account)
	}
	n, err := strconv.ParseInt(string(r.Value), 10, 64)
	if err != nil {
		return 0, kv.Errorf(kv.Corruption, "%s holds %q, which is no amount", account, r.Value)
	}
	if n < 0 {
		return n, kv.Errorf(kv.Corruption, "%s is overdrawn: it holds %d", account, n)
	}
	return n, nil
}

// bankJob moves money.
type bankJob struct {
	*bank
	rand *rand.Rand
}

// operate moves some money from one account to another, as far as it is there.
func (j *bankJob) operate(ctx context.Context, s *sample) {
	s.kind = transfer
	from := j.rand.IntN(len(j.accounts))
	to := (from + 1 + j.rand.IntN(len(j.accounts)-1)) % len(j.accounts)
	amount := 1 + j.rand.Int64N(transferMax)
	a, b := j.accounts[from], j.accounts[to]
	s.attempts, s.err = j.tx.Update(ctx, func(ctx context.Context, tx Tx) error {
		found, err := tx.GetMany(ctx, a, b)
		if err != nil {
			return err
		}
		x, err := balanceOf(a, found[0])
		if err == nil {
			var y int64
			if y, err = balanceOf(b, found[1]); err == nil {
				moved := min(amount, x)
				tx.Put(a, strconv.AppendInt(nil, x-moved, 10))
				tx.Put(b, strconv.AppendInt(nil, y+moved, 10))
				return nil
			}
		}
		j.run.bad.add(violationBank, "a transfer: %v", err)
		return err
	})
}

// auditor adds up all accounts, by turns as they are and as they were.
type auditor struct {
	*bank
	stale time.Duration
	turn  bool // the next one is stale
}

func (a *auditor) operate(ctx context.Context, s *sample) {
	s.kind = audit
	staleBy := time.Duration(0)
	if a.turn && a.stale > 0 {
		s.kind, staleBy = staleAudit, a.stale
	}
	a.turn = !a.turn
	at, found, err := a.tx.View(ctx, a.accounts, staleBy)
	switch {
	case err != nil:
		s.err = err
	case at < a.since: // it looked at a time before the accounts were all there
		s.skip = true
	case staleBy > 0:
		a.audited(fmt.Sprintf("an audit %v ago", staleBy), at, found)
	default:
		a.audited("an audit", at, found)
	}
}
