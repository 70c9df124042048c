package server

import (
	"context"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// kvDoor is service KV. All but Stream find the right node by themselves.
type kvDoor struct {
	kvpb.UnimplementedKVServer
	server *Server
}

// Stream is the hot path of clients that speak gRPC.
func (d *kvDoor) Stream(s kvpb.KV_StreamServer) error {
	_, err := serve(d.server.backend, &overGRPC{stream: s}, d.server.stop) // gRPC ends its Recv when this handler has returned
	if err != nil {
		return wire.Status(err)
	}
	return s.Context().Err() // a client that has closed its side is no error
}

// overGRPC are the batches of a KV.Stream.
type overGRPC struct {
	stream kvpb.KV_StreamServer
	reply  kvpb.ReplyBatch
}

func (g *overGRPC) Recv() ([]byte, error) {
	m, err := g.stream.Recv() // the frames are fresh memory each time
	return m.GetFrames(), err
}

func (g *overGRPC) Send(batch []byte) error {
	g.reply.Frames = batch // encoded before Send returns
	return g.stream.Send(&g.reply)
}

// Get reads one key.
func (d *kvDoor) Get(ctx context.Context, m *kvpb.GetRequest) (*kvpb.GetResponse, error) {
	ks, err := d.keyspace(ctx, m.GetKeyspace(), m.GetKey())
	if err != nil {
		return nil, wire.Status(err)
	}
	c := d.server.router.NewCall()
	defer c.Release()
	c.Keys[0] = ks.FullKey(m.GetKey())
	c.ReadOne(from(m), m.GetStamped())
	a, err := c.Do(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	answer := &kvpb.GetResponse{Timestamp: uint64(a.Timestamp)}
	if len(a.Rows) > 0 {
		answer.Found, answer.Pair = true, pairMessage(ks, &a.Rows[0])
	}
	return answer, nil
}

// bounded is a message that says which state it asks for.
type bounded interface {
	GetTimestamp() uint64
	GetFollower() bool
	GetNotBefore() uint64
}

func from(m bounded) router.From {
	return router.From{
		At:    kv.Timestamp(m.GetTimestamp()),
		Stale: kv.Stale{Follower: m.GetFollower(), NotBefore: kv.Timestamp(m.GetNotBefore())},
	}
}

// keyspace finds a keyspace, and checks that keys of it may be what they are.
func (d *kvDoor) keyspace(ctx context.Context, name string, keys ...[]byte) (kv.Keyspace, *kv.Error) {
	for _, k := range keys {
		if err := checkUserKey(k); err != nil {
			return kv.Keyspace{}, err
		}
	}
	return d.server.router.Keyspace(ctx, name)
}

func checkUserKey(k []byte) *kv.Error {
	switch {
	case len(k) == 0:
		return kv.Errorf(kv.Invalid, "a key must have at least one byte")
	case len(k) > kv.KeyBytesMax:
		return kv.LimitError("key bytes", kv.KeyBytesMax, int64(len(k)), "use a shorter key")
	}
	return nil
}

func pairMessage(ks kv.Keyspace, r *kv.Row) *kvpb.Pair {
	return &kvpb.Pair{Key: ks.UserKey(r.Key), Value: r.Value, Version: uint64(r.Version)}
}

// GetMany reads keys at one timestamp.
func (d *kvDoor) GetMany(ctx context.Context, m *kvpb.GetManyRequest) (*kvpb.GetManyResponse, error) {
	if len(m.GetKeys()) == 0 {
		return nil, wire.Status(kv.Errorf(kv.Invalid, "no key is named"))
	}
	ks, err := d.keyspace(ctx, m.GetKeyspace(), m.GetKeys()...)
	if err != nil {
		return nil, wire.Status(err)
	}
	keys := make([]kv.Key, len(m.GetKeys()))
	for i, k := range m.GetKeys() {
		keys[i] = ks.FullKey(k)
	}
	found, at, err := d.server.router.ReadMany(ctx, keys, from(m))
	if err != nil {
		return nil, wire.Status(err)
	}
	answer := &kvpb.GetManyResponse{Timestamp: uint64(at)}
	for i := range found {
		one := &kvpb.GetResponse{Found: found[i].Ok}
		if one.Found {
			one.Pair = pairMessage(ks, &found[i].Row)
		}
		answer.Answers = append(answer.Answers, one)
	}
	return answer, nil
}

// Scan goes over a range, or counts it.
func (d *kvDoor) Scan(m *kvpb.ScanRequest, out kvpb.KV_ScanServer) error {
	ctx := out.Context()
	ks, err := d.keyspace(ctx, m.GetKeyspace())
	if err != nil {
		return wire.Status(err)
	}
	if m.GetLimit() < 0 {
		return wire.Status(kv.Errorf(kv.Invalid, "limit %d: it must not be negative", m.GetLimit()))
	}
	q := router.ScanQuery{
		Keyspace: ks, Start: m.GetStart(), End: m.GetEnd(), From: from(m),
		Reverse: m.GetReverse(), KeysOnly: m.GetKeysOnly(), Limit: int(m.GetLimit()),
	}
	if m.GetCountOnly() {
		n, at, err := d.server.router.Count(ctx, q)
		if err != nil {
			return wire.Status(err)
		}
		return out.Send(&kvpb.ScanPage{Count: n, Timestamp: uint64(at)})
	}
	return sendPages(d.server.router.Scan(ctx, q), ks, out)
}

// sendPages sends the rows of a scan in messages of about wire.BatchBytes; at least one.
func sendPages(s *router.Scan, ks kv.Keyspace, out kvpb.KV_ScanServer) error {
	defer s.Close()
	page, n := &kvpb.ScanPage{}, 0
	for {
		row, ok, err := s.Next()
		if err != nil {
			return wire.Status(err)
		}
		if !ok {
			page.Timestamp = uint64(s.Timestamp())
			return out.Send(page)
		}
		page.Pairs = append(page.Pairs, pairMessage(ks, &row))
		if n += len(row.Key) + len(row.Value); n >= wire.BatchBytes {
			page.Timestamp = uint64(s.Timestamp())
			if err := out.Send(page); err != nil {
				return err
			}
			page, n = &kvpb.ScanPage{}, 0
		}
	}
}
