package session

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// data is the session in one keyspace.
type data struct {
	session  *Session
	keyspace string
}

// In is the session as the data of a keyspace; "" is the one that it began in.
func (s *Session) In(keyspace string) store.Data { return &data{session: s, keyspace: keyspace} }

func (d *data) reader() store.Reader {
	s := d.session
	switch {
	case s.tx != nil:
		return in(s.tx, d.keyspace)
	case d.keyspace == "":
		return s.snapshot
	}
	return s.snapshot.In(d.keyspace)
}

// room is an error unless another command can run.
func (d *data) room() error {
	if err := d.session.usable(); err != nil {
		return err
	}
	if n := len(d.session.steps); n >= StepsMax {
		return kv.LimitError("commands of one transaction", StepsMax, int64(n)+1, "commit, and begin another one")
	}
	return nil
}

// readable is an error unless a read can run.
func (d *data) readable(b store.Bound) error {
	if b != (store.Bound{}) {
		return kv.Errorf(kv.Invalid, "a transaction reads one state: leave out --at, --stale-by and --max-stale; begin ro at -5s chooses an older one")
	}
	return d.room()
}

// note remembers a command. A view is never replayed.
func (d *data) note(x step) {
	if d.session.tx != nil {
		x.keyspace = d.keyspace
		d.session.steps = append(d.session.steps, x)
	}
}

// Get implements store.Data.
func (d *data) Get(ctx context.Context, key []byte, b store.Bound) (store.Pair, error) {
	if err := d.readable(b); err != nil {
		return store.Pair{}, err
	}
	p, err := d.reader().Get(ctx, key)
	if first, bad := shownValue(p, err); bad == nil {
		d.note(step{name: "get " + literal.Format(key), first: first, run: func(ctx context.Context, tx store.Tx) (shown, error) {
			return shownValue(tx.Get(ctx, key))
		}})
	}
	return p, err
}

// Scan implements store.Data. One that is broken off counts as one of the rows that it showed.
func (d *data) Scan(ctx context.Context, r store.Range) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		if err := d.readable(r.Bound); err != nil {
			yield(store.Pair{}, err)
			return
		}
		var seen rowsSum
		whole := false
		defer func() {
			if !whole {
				r.Limit = seen.count
			}
			if whole || seen.count > 0 {
				d.note(step{name: name("scan", r), first: seen.shown(), run: func(ctx context.Context, tx store.Tx) (shown, error) { return scanAgain(ctx, tx, r) }})
			}
		}()
		for p, err := range d.reader().Scan(ctx, r) {
			if err == nil {
				seen.add(p)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
		whole = true
	}
}

func scanAgain(ctx context.Context, tx store.Tx, r store.Range) (shown, error) {
	var seen rowsSum
	for p, err := range tx.Scan(ctx, r) {
		if err != nil {
			return shown{}, err
		}
		seen.add(p)
	}
	return seen.shown(), nil
}

// name is a command over a range.
func name(command string, r store.Range) string {
	switch {
	case len(r.Start) > 0 && bytes.Equal(r.End, kv.PrefixEnd(r.Start)):
		return command + " " + literal.Format(r.Start)
	case len(r.Start) == 0 && len(r.End) == 0:
		return command
	}
	return fmt.Sprintf("%s of a range from %s", command, literal.Format(r.Start))
}

// Count implements store.Data.
func (d *data) Count(ctx context.Context, r store.Range) (int64, error) {
	if err := d.readable(r.Bound); err != nil {
		return 0, err
	}
	r.KeysOnly, r.Limit, r.Reverse = true, 0, false
	n, err := count(ctx, d.reader(), r)
	if err == nil {
		d.note(step{name: name("count", r), first: shownCount(n), run: func(ctx context.Context, tx store.Tx) (shown, error) {
			n, err := count(ctx, tx, r)
			return shownCount(n), err
		}})
	}
	return n, err
}

func shownCount(n int64) shown { return shown{text: strconv.FormatInt(n, 10)} }

func count(ctx context.Context, from store.Reader, r store.Range) (n int64, err error) {
	for _, err := range from.Scan(ctx, r) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// write buffers a write and remembers it.
func (d *data) write(name string, do func(tx store.Tx)) (store.Commit, error) {
	if err := d.writable(); err != nil {
		return store.Commit{}, err
	}
	do(in(d.session.tx, d.keyspace))
	d.session.written = true
	d.note(step{name: name, run: func(_ context.Context, tx store.Tx) (shown, error) {
		do(tx)
		return shown{}, nil
	}})
	return d.buffered(), nil
}

func (d *data) writable() error {
	if d.session.tx == nil {
		return kv.Errorf(kv.Denied, "the transaction (%s) is read-only: begin without ro to write", d.session.Name())
	}
	return d.room()
}

func (d *data) buffered() store.Commit {
	return store.Commit{Version: store.Buffered, ID: d.session.ID()}
}

// Put implements store.Data.
func (d *data) Put(_ context.Context, key, value []byte) (store.Commit, error) {
	if err := checkSizes(key, value); err != nil {
		return store.Commit{}, err
	}
	return d.write("put "+literal.Format(key), func(tx store.Tx) { tx.Put(key, value) })
}

// checkSizes refuses at once what otherwise only the commit would.
func checkSizes(key, value []byte) error {
	switch {
	case len(key) == 0:
		return kv.Errorf(kv.Invalid, "a key must have at least one byte")
	case len(key) > kv.KeyBytesMax:
		return kv.LimitError("key bytes", kv.KeyBytesMax, int64(len(key)), "use a shorter key")
	case len(value) > kv.ValueBytesMax:
		return kv.LimitError("value bytes", kv.ValueBytesMax, int64(len(value)), "store the value in parts")
	}
	return nil
}

// Delete implements store.Data.
func (d *data) Delete(_ context.Context, key []byte) (store.Commit, error) {
	if err := checkSizes(key, nil); err != nil {
		return store.Commit{}, err
	}
	return d.write("del "+literal.Format(key), func(tx store.Tx) { tx.Delete(key) })
}

// Add implements store.Data. It reads nothing, so that it conflicts with no other addition: the sum
// is 0, and a value that is no integer is the error of the commit.
func (d *data) Add(_ context.Context, key []byte, delta int64) (int64, store.Commit, error) {
	if err := checkSizes(key, nil); err != nil {
		return 0, store.Commit{}, err
	}
	done, err := d.write("add "+literal.Format(key), func(tx store.Tx) { tx.Add(key, delta) })
	return 0, done, err
}

// CompareAndSet implements store.Data: it reads, and writes if that is as expected. So it sees what
// the transaction has written itself. A refusal shows something too, and counts as a read.
func (d *data) CompareAndSet(ctx context.Context, key []byte, want kv.Expect, value []byte) (store.Commit, error) {
	if err := checkSizes(key, value); err != nil {
		return store.Commit{}, err
	}
	if err := d.writable(); err != nil {
		return store.Commit{}, err
	}
	p, err := in(d.session.tx, d.keyspace).Get(ctx, key)
	found, bad := shownValue(p, err)
	if bad != nil {
		return store.Commit{}, bad
	}
	title := "cas " + literal.Format(key)
	if err := refusal(key, p, err == nil, want); err != nil {
		d.note(step{name: title, first: found, run: func(ctx context.Context, tx store.Tx) (shown, error) {
			return shownValue(tx.Get(ctx, key))
		}})
		return store.Commit{}, err
	}
	in(d.session.tx, d.keyspace).Put(key, value)
	d.session.written = true
	d.note(step{name: title, run: func(ctx context.Context, tx store.Tx) (shown, error) {
		p, err := tx.Get(ctx, key)
		if _, bad := shownValue(p, err); bad != nil {
			return shown{}, bad
		}
		if err := refusal(key, p, err == nil, want); err != nil {
			return shown{}, err
		}
		tx.Put(key, value)
		return shown{}, nil
	}})
	return d.buffered(), nil
}

// refusal is why a key is not as expected; nil if it is.
func refusal(key []byte, p store.Pair, found bool, want kv.Expect) error {
	switch {
	case want.Kind == kv.ExpectAbsent && !found,
		want.Kind == kv.ExpectVersion && found && p.Version == want.Version,
		want.Kind == kv.ExpectValue && found && bytes.Equal(p.Value, want.Value):
		return nil
	}
	e := &kv.Error{Kind: kv.Expectation, Message: "the key is absent", Key: key}
	switch {
	case found && p.Version == store.Buffered:
		e.Message = "the transaction has written the key, and it is not as expected"
	case found:
		e.Message = "the key is not as expected"
		e.Actual = &kv.Row{Key: key, Value: slices.Clone(p.Value), Version: p.Version}
	}
	return e
}
