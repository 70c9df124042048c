package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/client/session"
)

// postgresTarget drives PostgreSQL at serializable isolation, which is what its connections are told. A version is
// the number of the transaction that wrote the row.
type postgresTarget struct{ pool *pgxpool.Pool }

// The statements, each prepared once a connection.
const (
	postgresTable  = "create table if not exists accounts (key bytea primary key, value bytea not null)"
	postgresRead   = "select key, value, xmin from accounts where key = any($1)"
	postgresScan   = "select key, value, xmin from accounts where key >= $1 and ($2::bytea is null or key < $2) order by key limit $3"
	postgresUpsert = "insert into accounts (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value"
	postgresInsert = "insert into accounts (key, value) values ($1, $2) on conflict (key) do nothing"
	postgresUpdate = "update accounts set value = $2 where key = $1"
	postgresSwap   = postgresUpdate + " and xmin = $3"
	postgresTime   = "select pg_snapshot_xmax(pg_current_snapshot())"
	postgresBegin  = "begin"
	postgresLook   = "begin read only"
	postgresCommit = "commit"
	postgresUndo   = "rollback"
)

// SQLSTATEs of what another transaction has overtaken.
const (
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
)

// Describe implements bench.Describer.
func (t *postgresTarget) Describe() bench.Description {
	c := t.pool.Config().ConnConfig
	return bench.Description{Name: "postgres", Facts: map[string]string{"address": fmt.Sprintf("%s:%d", c.Host, c.Port), "isolation": "serializable"}}
}

// ErrorKind implements bench.Classifier.
func (t *postgresTarget) ErrorKind(err error) string {
	var e *pgconn.PgError
	if errors.Is(err, bench.ErrConflict) || !errors.As(err, &e) {
		return ""
	}
	return "sqlstate " + e.Code
}

// Get implements bench.Target.
func (t *postgresTarget) Get(ctx context.Context, key []byte) (bench.Record, error) {
	rows, _ := t.pool.Query(ctx, postgresRead, [][]byte{key}) // its error is that of the rows
	found, err := recordsIn(rows)
	if err == nil && len(found) == 0 {
		err = bench.ErrNotFound
	}
	if err != nil {
		return bench.Record{}, err
	}
	return found[0], nil
}

// Put implements bench.Target.
func (t *postgresTarget) Put(ctx context.Context, key, value []byte) error {
	_, err := t.retry(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, postgresUpsert, key, value)
		return err
	})
	return err
}

// Scan implements bench.Target.
func (t *postgresTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]bench.Record, error) {
	if start == nil {
		start = []byte{}
	}
	rows, _ := t.pool.Query(ctx, postgresScan, start, end, limit) // as in Get
	return recordsIn(rows)
}

// CompareAndSet implements bench.Target.
func (t *postgresTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	_, err := t.retry(ctx, func(c *pgx.Conn) error {
		var done pgconn.CommandTag
		var err error
		if version == 0 {
			done, err = c.Exec(ctx, postgresInsert, key, value)
		} else {
			done, err = c.Exec(ctx, postgresSwap, key, value, uint32(version))
		}
		if err == nil && done.RowsAffected() == 0 {
			err = bench.ErrConflict
		}
		return err
	})
	return err
}

// Update implements bench.Transactor. Beginning and reading are one message, all puts and the commit another:
// what kvd's client does, and the best that is to be had.
func (t *postgresTarget) Update(ctx context.Context, fn func(ctx context.Context, tx bench.Tx) error) (bench.Attempts, error) {
	return t.retry(ctx, func(c *pgx.Conn) error {
		tx := &postgresTx{conn: c, seen: map[string]bench.Record{}}
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return tx.commit(ctx)
	})
}

// View implements bench.Transactor. Nothing in it is stale: older states are not kept.
func (t *postgresTarget) View(ctx context.Context, keys [][]byte, _ time.Duration) (at uint64, found []bench.Record, err error) {
	_, err = t.retry(ctx, func(c *pgx.Conn) (err error) {
		var b pgx.Batch
		b.Queue(postgresLook)
		b.Queue(postgresTime).QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
		b.Queue(postgresRead, keys).Query(func(rows pgx.Rows) error {
			all, err := recordsIn(rows)
			found = inOrder(keys, all)
			return err
		})
		b.Queue(postgresCommit)
		return c.SendBatch(ctx, &b).Close()
	})
	return at, found, err
}

// retry does something on a connection, again if another transaction has overtaken it, with the waits of kvd's
// client.
func (t *postgresTarget) retry(ctx context.Context, do func(c *pgx.Conn) error) (took bench.Attempts, err error) {
	for {
		took.Made++
		err := t.attempt(ctx, do)
		if !overtaken(err) {
			return took, err
		}
		took.Aborted++
		pause(ctx, jitter(took.Made-1))
		if ctx.Err() != nil {
			return took, fmt.Errorf("%w: %w", bench.ErrConflict, err)
		}
	}
}

// jitter is how long kvd's client waits after n failures in a row, from 0.
func jitter(n int) time.Duration {
	bound := min(session.BackoffMax, session.BackoffMin<<min(n, 10))
	return rand.N(bound + 1)
}

func overtaken(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == stateSerialization || e.Code == stateDeadlock)
}

// attempt leaves no transaction open.
func (t *postgresTarget) attempt(ctx context.Context, do func(c *pgx.Conn) error) error {
	c, err := t.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release() // closes a connection on which the rollback fails
	err = do(c.Conn())
	const idle = 'I'
	if err != nil && c.Conn().PgConn().TxStatus() != idle {
		_, _ = c.Exec(ctx, postgresUndo)
	}
	return err
}

// recordsIn reads rows to their end.
func recordsIn(rows pgx.Rows) ([]bench.Record, error) {
	defer rows.Close()
	var found []bench.Record
	for rows.Next() {
		var r bench.Record
		var writer uint32
		if err := rows.Scan(&r.Key, &r.Value, &writer); err != nil {
			return nil, err
		}
		r.Version = uint64(writer)
		found = append(found, r)
	}
	return found, rows.Err()
}

// inOrder is a record for each key, without a version where there is none.
func inOrder(keys [][]byte, found []bench.Record) []bench.Record {
	at := make(map[string]bench.Record, len(found))
	for _, r := range found {
		at[string(r.Key)] = r
	}
	all := make([]bench.Record, len(keys))
	for i, k := range keys {
		all[i] = at[string(k)]
		all[i].Key = k
	}
	return all
}

// postgresTx is an attempt of a transaction.
type postgresTx struct {
	conn  *pgx.Conn
	begun bool
	seen  map[string]bench.Record // what was read, or put
	puts  []postgresPut
}

// postgresPut is one row to be written.
type postgresPut struct {
	key, value []byte
	update     bool // the row is there
}

// GetMany implements bench.Tx.
func (t *postgresTx) GetMany(ctx context.Context, keys ...[]byte) ([]bench.Record, error) {
	var missing [][]byte
	for _, k := range keys {
		if _, ok := t.seen[string(k)]; !ok {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		if err := t.fetch(ctx, missing); err != nil {
			return nil, err
		}
	}
	found := make([]bench.Record, len(keys))
	for i, k := range keys {
		found[i] = t.seen[string(k)]
	}
	return found, nil
}

func (t *postgresTx) fetch(ctx context.Context, keys [][]byte) error {
	b := t.batch()
	b.Queue(postgresRead, keys).Query(func(rows pgx.Rows) error {
		found, err := recordsIn(rows)
		for _, r := range inOrder(keys, found) {
			t.seen[string(r.Key)] = r
		}
		return err
	})
	return t.conn.SendBatch(ctx, b).Close()
}

// batch begins with the beginning of the transaction, if that is still due.
func (t *postgresTx) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if !t.begun {
		t.begun = true
		b.Queue(postgresBegin)
	}
	return b
}

// ownVersion is that of what the transaction itself has put: there is no number yet.
const ownVersion = 1 << 32

// Put implements bench.Tx.
func (t *postgresTx) Put(key, value []byte) {
	put := postgresPut{key: bytes.Clone(key), value: bytes.Clone(value), update: t.seen[string(key)].Version != 0}
	t.seen[string(key)] = bench.Record{Key: put.key, Value: put.value, Version: ownVersion}
	if i := slices.IndexFunc(t.puts, func(p postgresPut) bool { return bytes.Equal(p.key, key) }); i >= 0 {
		t.puts[i].value = put.value
		return
	}
	t.puts = append(t.puts, put)
}

// commit writes rows in the order of their keys, so that no two transactions wait for each other.
func (t *postgresTx) commit(ctx context.Context) error {
	if len(t.puts) == 0 && !t.begun {
		return nil
	}
	slices.SortFunc(t.puts, func(a, b postgresPut) int { return bytes.Compare(a.key, b.key) })
	b := t.batch()
	for _, p := range t.puts {
		statement := postgresUpsert
		if p.update {
			statement = postgresUpdate
		}
		b.Queue(statement, p.key, p.value)
	}
	b.Queue(postgresCommit)
	return t.conn.SendBatch(ctx, b).Close()
}
