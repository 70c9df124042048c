package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kvd-db/kvd/bench"
)

// etcdTarget drives clientv3. Its reads are linearizable, as is clientv3's default, but for those of
// staleBy.
type etcdTarget struct {
	client *clientv3.Client
	gets   []clientv3.OpOption
}

// staleBy implements stalePlace. etcd knows no age: whichever member is asked answers with what it has.
func (t *etcdTarget) staleBy(time.Duration) bench.Target {
	return &etcdTarget{client: t.client, gets: []clientv3.OpOption{clientv3.WithSerializable()}}
}

// Describe implements bench.Describer.
func (t *etcdTarget) Describe() bench.Description {
	return bench.Description{
		Name: "etcd", Facts: map[string]string{"endpoints": strings.Join(t.client.Endpoints(), ",")},
		StaleReads: len(t.gets) > 0,
	}
}

// ErrorKind implements bench.Classifier.
func (t *etcdTarget) ErrorKind(err error) string {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return strings.ToLower(e.Code().String())
	}
	return ""
}

// Get implements bench.Target.
func (t *etcdTarget) Get(ctx context.Context, key []byte) (bench.Record, error) {
	r, err := t.client.Get(ctx, string(key), t.gets...)
	if err != nil {
		return bench.Record{}, err
	}
	if len(r.Kvs) == 0 {
		return bench.Record{}, bench.ErrNotFound
	}
	return bench.Record{Key: r.Kvs[0].Key, Value: r.Kvs[0].Value, Version: uint64(r.Kvs[0].ModRevision)}, nil
}

// Put implements bench.Target.
func (t *etcdTarget) Put(ctx context.Context, key, value []byte) error {
	_, err := t.client.Put(ctx, string(key), string(value))
	return err
}

// Scan implements bench.Target. An end makes it a bounded range: etcd counts all keys of the
// range that it is asked for.
func (t *etcdTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]bench.Record, error) {
	to := clientv3.WithFromKey()
	if end != nil {
		to = clientv3.WithRange(string(end))
	}
	r, err := t.client.Get(ctx, string(start), to, clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, err
	}
	found := make([]bench.Record, len(r.Kvs))
	for i, p := range r.Kvs {
		found[i] = bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.ModRevision)}
	}
	return found, nil
}

// CompareAndSet implements bench.Target.
func (t *etcdTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	k := string(key)
	r, err := t.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(k), "=", int64(version))).
		Then(clientv3.OpPut(k, string(value))).Commit()
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return bench.ErrConflict
	}
	return nil
}

// Update implements bench.Transactor: reads at one revision, and then one request that puts
// everything if nothing has changed that was read.
func (t *etcdTarget) Update(ctx context.Context, fn func(ctx context.Context, tx bench.Tx) error) (took bench.Attempts, err error) {
	for {
		took.Made++
		tx := &etcdTx{client: t.client, seen: map[string]bench.Record{}, puts: map[string]string{}}
		if err := fn(ctx, tx); err != nil {
			return took, err
		}
		done, err := tx.commit(ctx)
		if err != nil || done {
			return took, err
		}
		took.Aborted++
		if err := ctx.Err(); err != nil {
			return took, fmt.Errorf("%w: %w", bench.ErrConflict, err)
		}
	}
}

// View implements bench.Transactor. What is stale comes from whichever member is asked, as it is
// there: that is not older than the last write that it has heard of.
func (t *etcdTarget) View(ctx context.Context, keys [][]byte, staleBy time.Duration) (uint64, []bench.Record, error) {
	var opts []clientv3.OpOption
	if staleBy > 0 {
		opts = append(opts, clientv3.WithSerializable())
	}
	at, found, err := getMany(ctx, t.client, keys, opts...)
	return uint64(at), found, err
}

// getMany reads keys in one request, and so at one revision.
func getMany(ctx context.Context, c *clientv3.Client, keys [][]byte, opts ...clientv3.OpOption) (at int64, found []bench.Record, err error) {
	found = make([]bench.Record, len(keys))
	for i, k := range keys {
		found[i].Key = k
	}
	if len(keys) == 1 {
		r, err := c.Get(ctx, string(keys[0]), opts...)
		if err != nil {
			return 0, nil, err
		}
		fill(&found[0], (*pb.RangeResponse)(r))
		return r.Header.Revision, found, nil
	}
	gets := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		gets[i] = clientv3.OpGet(string(k), opts...)
	}
	r, err := c.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return 0, nil, err
	}
	for i := range found {
		fill(&found[i], r.Responses[i].GetResponseRange())
	}
	return r.Header.Revision, found, nil
}

func fill(r *bench.Record, found *pb.RangeResponse) {
	for _, p := range found.Kvs {
		r.Value, r.Version = p.Value, uint64(p.ModRevision)
	}
}

// etcdTx is an attempt of a transaction.
type etcdTx struct {
	client *clientv3.Client
	at     int64                   // the revision of all reads; 0: there was none yet
	seen   map[string]bench.Record // what was read
	puts   map[string]string
	order  []string // of the puts
}

// GetMany implements bench.Tx.
func (t *etcdTx) GetMany(ctx context.Context, keys ...[]byte) ([]bench.Record, error) {
	if err := t.fetch(ctx, keys); err != nil {
		return nil, err
	}
	found := make([]bench.Record, len(keys))
	for i, k := range keys {
		found[i] = t.seen[string(k)]
		if value, ok := t.puts[string(k)]; ok {
			found[i] = bench.Record{Key: k, Value: []byte(value), Version: uint64(t.at) + 1}
		}
	}
	return found, nil
}

// fetch reads what is not known yet.
func (t *etcdTx) fetch(ctx context.Context, keys [][]byte) error {
	var missing [][]byte
	for _, k := range keys {
		_, seen := t.seen[string(k)]
		if _, put := t.puts[string(k)]; !seen && !put {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var opts []clientv3.OpOption
	if t.at != 0 {
		opts = append(opts, clientv3.WithRev(t.at))
	}
	at, found, err := getMany(ctx, t.client, missing, opts...)
	if err != nil {
		return err
	}
	if t.at == 0 {
		t.at = at
	}
	for i, k := range missing {
		t.seen[string(k)] = found[i]
	}
	return nil
}

// Put implements bench.Tx.
func (t *etcdTx) Put(key, value []byte) {
	k := string(key)
	if _, ok := t.puts[k]; !ok {
		t.order = append(t.order, k)
	}
	t.puts[k] = string(value)
}

// commit reports whether nothing had changed. All reads were of one revision: without puts there
// is nothing to do.
func (t *etcdTx) commit(ctx context.Context) (bool, error) {
	if len(t.order) == 0 {
		return true, nil
	}
	var same []clientv3.Cmp
	for k, r := range t.seen {
		same = append(same, clientv3.Compare(clientv3.ModRevision(k), "=", int64(r.Version)))
	}
	var puts []clientv3.Op
	for _, k := range t.order {
		puts = append(puts, clientv3.OpPut(k, t.puts[k]))
	}
	r, err := t.client.Txn(ctx).If(same...).Then(puts...).Commit()
	if err != nil {
		return false, err
	}
	return r.Succeeded, nil
}
