package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// step is one command of a transaction.
type step struct {
	keyspace string // "": the one that the transaction began in
	name     string // the command, and the key or range that it is about
	run      func(ctx context.Context, tx store.Tx) (shown, error)
	first    shown
}

// shown is what a command showed: the same for the same keys and values. Versions do not count,
// since a value that was written again means the same to a person.
type shown struct {
	text string
	sum  [sha256.Size]byte // of what text does not say
}

// in is the attempt looking at a keyspace.
func in(tx store.Tx, keyspace string) store.Tx {
	if keyspace == "" {
		return tx
	}
	return tx.In(keyspace)
}

func (x *step) again(ctx context.Context, tx store.Tx) error {
	now, err := x.run(ctx, in(tx, x.keyspace))
	change := ""
	switch {
	case kv.KindOf(err) == kv.Expectation:
		change = "was done and would be refused now"
	case err != nil:
		return err
	case now == x.first:
		return nil
	default:
		change = fmt.Sprintf("gave %s and gives %s now", x.first.text, describe(now, x.first))
	}
	return kv.Errorf(kv.Expectation, "%s %s, so the commands after it were not run: rollback, and begin anew", x.name, change)
}

// describe is what is shown now, in words that differ from those before.
func describe(now, before shown) string {
	if now.text == before.text {
		return "others"
	}
	return now.text
}

// valueShownMax is how much of a value a sentence shows.
const valueShownMax = 64

// shownValue is the result of reading one key; a missing one is no error of a step.
func shownValue(p store.Pair, err error) (shown, error) {
	if kv.KindOf(err) == kv.NotFound && errors.As(err, new(*kv.Error)) {
		return shown{text: "nothing"}, nil
	}
	if err != nil {
		return shown{}, err
	}
	text := literal.Format(p.Value)
	if len(p.Value) > valueShownMax {
		text = fmt.Sprintf("a value of %d bytes", len(p.Value))
	}
	return shown{text: text, sum: sha256.Sum256(p.Value)}, nil
}

// rowsSum adds up what a scan shows.
type rowsSum struct {
	count int
	bytes bytes.Buffer
	sum   [sha256.Size]byte
}

func (r *rowsSum) add(p store.Pair) {
	r.count++
	r.bytes.Reset()
	r.bytes.Write(r.sum[:])
	r.bytes.Write(binary.AppendUvarint(nil, uint64(len(p.Key))))
	r.bytes.Write(p.Key)
	r.bytes.Write(p.Value)
	r.sum = sha256.Sum256(r.bytes.Bytes())
}

func (r *rowsSum) shown() shown {
	text := fmt.Sprintf("%d rows", r.count)
	if r.count == 1 {
		text = "1 row"
	}
	return shown{text: text, sum: r.sum}
}
