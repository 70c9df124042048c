package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/client"
)

const (
	bankSpace    = "bank"
	bankAccounts = 16
	bankEach     = 1000 // in every account at first
)

// bank is accounts in several partitions. Transfers never change the sum, whoever looks.
type bank struct {
	x         *Transactions
	transfers atomic.Int64
	audits    atomic.Int64

	mu       sync.Mutex
	balances [bankAccounts]int64
	doubtful int // transfers of which nobody knows: then no balance is known
}

func accountKey(i int) []byte { return fmt.Appendf(nil, "account-%02d", i) }

func newBank(x *Transactions) *bank {
	b := &bank{x: x}
	x.eventually("open accounts", func(ctx context.Context) error {
		_, err := x.clients[0].In(bankSpace).Update(ctx, func(_ context.Context, tx *client.Tx) error {
			for i := range bankAccounts {
				tx.Put(accountKey(i), strconv.AppendInt(nil, bankEach, 10))
			}
			return nil
		})
		return err
	})
	for i := range b.balances {
		b.balances[i] = bankEach
	}
	return b
}

// transfer moves money between two accounts, mostly of different partitions.
func (b *bank) transfer(w *worker) error {
	from, to := w.rng.IntN(bankAccounts), w.rng.IntN(bankAccounts-1)
	if to >= from {
		to++
	}
	amount, blind := 1+w.rng.Int64N(20), w.rng.IntN(4) == 0
	ctx, cancel := b.x.call()
	defer cancel()
	_, err := w.client.In(bankSpace).Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		if blind {
			tx.Add(accountKey(from), -amount)
			tx.Add(accountKey(to), amount)
			return nil
		}
		return move(ctx, tx, from, to, amount)
	})
	f := b.x.settle(w.client, fmt.Sprintf("a transfer from account %d to %d", from, to), err)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch f {
	case happened:
		b.transfers.Add(1)
		b.balances[from] -= amount
		b.balances[to] += amount
	case unknown:
		b.doubtful++
	}
	return err
}

// move is a transfer that reads what it changes.
func move(ctx context.Context, tx *client.Tx, from, to int, amount int64) error {
	for _, part := range []struct {
		account int
		by      int64
	}{{from, -amount}, {to, amount}} {
		p, err := tx.GetForUpdate(ctx, accountKey(part.account))
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(p.Value), 10, 64)
		if err != nil {
			return fmt.Errorf("account %d: %w", part.account, err)
		}
		tx.Put(accountKey(part.account), strconv.AppendInt(nil, n+part.by, 10))
	}
	return nil
}

// audit looks at all accounts in one state, the newest one or an older one.
func (b *bank) audit(w *worker) error {
	var opts []client.SnapshotOption
	if age := time.Duration(w.rng.Int64N(int64(2 * time.Second))); w.rng.IntN(3) == 0 && time.Since(b.x.began) > 10*time.Second {
		opts = append(opts, client.WithSnapshotBound(client.StaleBy(age)))
	}
	ctx, cancel := b.x.call()
	defer cancel()
	balances, err := b.look(ctx, w.other, opts...)
	if err != nil {
		return err
	}
	b.audits.Add(1)
	b.judge(balances)
	return nil
}

// judge holds the balances of one state against what cannot change.
func (b *bank) judge(balances []int64) {
	sum := int64(0)
	for _, n := range balances {
		sum += n
	}
	if sum != bankAccounts*bankEach || len(balances) != bankAccounts {
		b.x.failf("an audit at %s found %d in %d accounts, not %d in %d: %v", time.Since(b.x.began), sum, len(balances), bankAccounts*bankEach, bankAccounts, balances)
	}
}

// look is all balances in one state.
func (b *bank) look(ctx context.Context, by *client.Client, opts ...client.SnapshotOption) (balances []int64, err error) {
	err = by.In(bankSpace).View(ctx, func(ctx context.Context, s *client.Snapshot) error {
		for p, err := range s.Scan(ctx, client.Prefix([]byte("account-"))) {
			if err != nil {
				return err
			}
			n, err := strconv.ParseInt(string(p.Value), 10, 64)
			if err != nil {
				b.x.failf("the balance of %s: %v", p.Key, err)
			}
			balances = append(balances, n)
		}
		return nil
	}, opts...)
	return balances, err
}

// verify holds every balance against the transfers that are known to have happened.
func (b *bank) verify() {
	b.x.t.Helper()
	var found []int64
	b.x.eventually("read all accounts", func(ctx context.Context) (err error) {
		found, err = b.look(ctx, b.x.clients[0])
		return err
	})
	if b.doubtful > 0 {
		return // that is a failure already
	}
	if got, want := strings.Trim(fmt.Sprint(found), "[]"), strings.Trim(fmt.Sprint(b.balances), "[]"); got != want {
		b.x.failf("the accounts hold %s at the end; the transfers that were acknowledged make %s", got, want)
	}
}
