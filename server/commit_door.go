package server

import (
	"context"

	"google.golang.org/protobuf/protoadapt"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// Put sets a key.
func (d *kvDoor) Put(ctx context.Context, m *kvpb.PutRequest) (*kvpb.CommitResponse, error) {
	return d.one(ctx, m.GetKeyspace(), m.GetName(), m.GetKey(), kv.Write{Kind: kv.WritePut, Value: m.GetValue()})
}

// Delete removes a key.
func (d *kvDoor) Delete(ctx context.Context, m *kvpb.DeleteRequest) (*kvpb.CommitResponse, error) {
	return d.one(ctx, m.GetKeyspace(), m.GetName(), m.GetKey(), kv.Write{Kind: kv.WriteDelete})
}

// Add adds to a number.
func (d *kvDoor) Add(ctx context.Context, m *kvpb.AddRequest) (*kvpb.CommitResponse, error) {
	return d.one(ctx, m.GetKeyspace(), m.GetName(), m.GetKey(), kv.Write{Kind: kv.WriteAdd, Delta: m.GetDelta()})
}

// CompareAndSet sets a key that is as expected.
func (d *kvDoor) CompareAndSet(ctx context.Context, m *kvpb.CompareAndSetRequest) (*kvpb.CommitResponse, error) {
	e, err := expectOf(m.GetExpect())
	if err == nil && e.Kind == kv.ExpectNothing {
		err = kv.Errorf(kv.Invalid, "a compare-and-set must say what it expects")
	}
	if err != nil {
		return nil, wire.Status(err)
	}
	return d.one(ctx, m.GetKeyspace(), m.GetName(), m.GetKey(), kv.Write{Kind: kv.WritePut, Value: m.GetValue(), Expect: e})
}

func expectOf(m *kvpb.Expectation) (kv.Expect, *kv.Error) {
	switch is := m.GetIs().(type) {
	case nil:
		return kv.Expect{}, nil
	case *kvpb.Expectation_Absent:
		if is.Absent {
			return kv.Expect{Kind: kv.ExpectAbsent}, nil
		}
	case *kvpb.Expectation_Version:
		return kv.Expect{Kind: kv.ExpectVersion, Version: kv.Timestamp(is.Version)}, nil
	case *kvpb.Expectation_Value:
		return kv.Expect{Kind: kv.ExpectValue, Value: is.Value}, nil
	}
	return kv.Expect{}, kv.Errorf(kv.Invalid, "an expectation that is absent must be so")
}

// one is a transaction of one write.
func (d *kvDoor) one(ctx context.Context, keyspace string, name *kvpb.CommitName, key []byte, w kv.Write) (*kvpb.CommitResponse, error) {
	ks, err := d.keyspace(ctx, keyspace, key)
	if err != nil {
		return nil, wire.Status(err)
	}
	w.Key = ks.FullKey(key)
	return d.commit(ctx, []kv.Keyspace{ks}, w.Key, name, &kv.Commit{Writes: []kv.Write{w}})
}

// Commit is a transaction.
func (d *kvDoor) Commit(ctx context.Context, m *kvpb.CommitRequest) (*kvpb.CommitResponse, error) {
	c := &kv.Commit{Start: kv.Timestamp(m.GetReadTimestamp())}
	ks, err := d.body(ctx, m, &c.Reads, &c.Spans, &c.Writes)
	if err == nil {
		err = ageOf(m.GetAge(), &c.Age)
	}
	spaces := []kv.Keyspace{ks}
	for _, pm := range m.GetParts() {
		if err != nil {
			break
		}
		p := kv.Part{Partition: kv.PartitionID(pm.GetPartition()), Generation: kv.Generation(pm.GetGeneration())}
		ks, err = d.body(ctx, pm, &p.Reads, &p.Spans, &p.Writes)
		c.Parts, spaces = append(c.Parts, p), append(spaces, ks)
	}
	if err != nil {
		return nil, wire.Status(err)
	}
	var anchor kv.Key
	switch {
	case len(c.Writes) > 0:
		anchor = c.Writes[0].Key
	case len(c.Parts) > 0:
		return nil, wire.Status(kv.Errorf(kv.Invalid, "a commit with parts must write something outside of them: the first key written names its home"))
	case len(c.Reads) > 0:
		anchor = c.Reads[0].Key
	case len(c.Spans) > 0:
		anchor = c.Spans[0].Start
	default:
		return nil, wire.Status(kv.Errorf(kv.Invalid, "a commit must read or write something"))
	}
	return d.commit(ctx, spaces, anchor, m.GetName(), c)
}

// bodyMessage is what a commit reads and writes in one partition.
type bodyMessage interface {
	GetKeyspace() string
	GetReads() [][]byte
	GetRanges() []*kvpb.KeyRange
	GetWrites() []*kvpb.Write
}

func (d *kvDoor) body(ctx context.Context, m bodyMessage, reads *[]kv.ReadMark, spans *[]kv.Span, writes *[]kv.Write) (kv.Keyspace, *kv.Error) {
	ks, err := d.keyspace(ctx, m.GetKeyspace(), m.GetReads()...)
	if err != nil {
		return ks, err
	}
	for _, k := range m.GetReads() {
		*reads = append(*reads, kv.ReadMark{Key: ks.FullKey(k)})
	}
	if *spans, err = spansOf(ks, m.GetRanges()); err == nil {
		*writes, err = d.writes(ks, m.GetWrites())
	}
	return ks, err
}

// ageOf reads an age; none is the youngest.
func ageOf(b []byte, age *kv.Age) *kv.Error {
	if len(b) != 0 && len(b) != len(age) {
		return kv.Errorf(kv.Invalid, "the age of a commit has %d bytes, not %d", len(age), len(b))
	}
	copy(age[:], b)
	return nil
}

func spansOf(ks kv.Keyspace, ranges []*kvpb.KeyRange) ([]kv.Span, *kv.Error) {
	if len(ranges) > 0 && ks.Scheme == kv.SchemeHash {
		return nil, kv.Errorf(kv.Invalid, "a range of a hash keyspace lies in all its partitions: read its keys one by one")
	}
	var spans []kv.Span
	for _, r := range ranges {
		s := kv.Span{Start: kv.MakeKey(ks.ID, r.GetStart()), End: kv.MakeKey(ks.ID, r.GetEnd())}
		if len(r.GetEnd()) == 0 {
			s.End = ks.Span().End
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func (d *kvDoor) writes(ks kv.Keyspace, ms []*kvpb.Write) ([]kv.Write, *kv.Error) {
	writes := make([]kv.Write, 0, len(ms))
	seen := make(map[string]bool, len(ms))
	for _, m := range ms {
		w, err := d.write(ks, m)
		if err != nil {
			return nil, err
		}
		if seen[string(m.GetKey())] {
			return nil, kv.Errorf(kv.Invalid, "key %q is written twice", m.GetKey())
		}
		seen[string(m.GetKey())] = true
		writes = append(writes, w)
	}
	return writes, nil
}

func (d *kvDoor) write(ks kv.Keyspace, m *kvpb.Write) (w kv.Write, err *kv.Error) {
	if err = checkUserKey(m.GetKey()); err != nil {
		return w, err
	}
	if w.Expect, err = expectOf(m.GetExpect()); err != nil {
		return w, err
	}
	w.Key = ks.FullKey(m.GetKey())
	switch op := m.GetOp().(type) {
	case *kvpb.Write_Put:
		w.Kind, w.Value = kv.WritePut, op.Put
	case *kvpb.Write_Delete:
		w.Kind = kv.WriteDelete
	case *kvpb.Write_Add:
		w.Kind, w.Delta = kv.WriteAdd, op.Add
	default:
		return w, kv.Errorf(kv.Invalid, "a write of key %q says neither put, delete nor add", m.GetKey())
	}
	return w, nil
}

// commit brings a commit to its end, under the caller's name or one of its own. Its keys are of the
// keyspaces given.
func (d *kvDoor) commit(ctx context.Context, spaces []kv.Keyspace, anchor kv.Key, name *kvpb.CommitName, q *kv.Commit) (*kvpb.CommitResponse, error) {
	c := d.server.router.NewCall()
	defer c.Release()
	c.Op = session.Op{Key: anchor, Request: kv.Request{Commit: q}}
	if name != nil {
		if len(name.GetId()) != len(q.ID) {
			return nil, wire.Status(kv.Errorf(kv.Invalid, "the id of a commit has %d bytes, not %d", len(q.ID), len(name.GetId())))
		}
		copy(q.ID[:], name.GetId())
		q.Term, q.AsOf = kv.Term(name.GetTerm()), kv.Timestamp(name.GetAsOf())
		c.Op.Named, c.Op.Request.Partition = true, kv.PartitionID(name.GetPartition())
	}
	a, err := c.Do(ctx)
	if err != nil {
		var details []protoadapt.MessageV1
		if m := nameMessage(c); m != nil && err.Kind == kv.Ambiguous {
			details = append(details, protoadapt.MessageV1Of(m))
		}
		return nil, wire.Status(userError(spaces, err), details...)
	}
	return &kvpb.CommitResponse{Timestamp: uint64(a.Timestamp), Name: nameMessage(c), Sums: a.Sums}, nil
}

func userError(spaces []kv.Keyspace, err *kv.Error) *kv.Error {
	for _, ks := range spaces {
		if u := ks.UserError(err); u != err {
			return u
		}
	}
	return err
}

func nameMessage(c *router.Call) *kvpb.CommitName {
	m, home := c.Named()
	if m == nil {
		return nil
	}
	return &kvpb.CommitName{Id: m.ID[:], Term: uint64(m.Term), AsOf: uint64(m.AsOf), Partition: uint64(home)}
}

// NameCommit draws a name for a commit to the partition of a key.
func (d *kvDoor) NameCommit(ctx context.Context, m *kvpb.NameCommitRequest) (*kvpb.CommitName, error) {
	ks, err := d.keyspace(ctx, m.GetKeyspace(), m.GetKey())
	if err != nil {
		return nil, wire.Status(err)
	}
	place, err := d.server.router.Place(ctx, ks.FullKey(m.GetKey()))
	if err != nil {
		return nil, wire.Status(err)
	}
	id := d.server.router.NewID()
	return &kvpb.CommitName{
		Id: id[:], Term: uint64(place.Term), AsOf: uint64(d.server.backend.Heard()), Partition: uint64(place.Descriptor.Partition),
	}, nil
}

// Outcome tells what became of a named commit.
func (d *kvDoor) Outcome(ctx context.Context, m *kvpb.OutcomeRequest) (*kvpb.OutcomeResponse, error) {
	ks, err := d.keyspace(ctx, m.GetKeyspace(), m.GetKey())
	if err != nil {
		return nil, wire.Status(err)
	}
	name, anchor := m.GetName(), ks.FullKey(m.GetKey())
	q := &kv.OutcomeOf{Term: kv.Term(name.GetTerm()), AsOf: kv.Timestamp(name.GetAsOf()), Anchor: anchor}
	if len(name.GetId()) != len(q.ID) {
		return nil, wire.Status(kv.Errorf(kv.Invalid, "the id of a commit has %d bytes, not %d", len(q.ID), len(name.GetId())))
	}
	copy(q.ID[:], name.GetId())
	c := d.server.router.NewCall()
	defer c.Release()
	c.Op = session.Op{Key: anchor, Request: kv.Request{Partition: kv.PartitionID(name.GetPartition()), Outcome: q}}
	a, err := c.Do(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &kvpb.OutcomeResponse{Outcome: kvpb.OutcomeResponse_Outcome(a.Outcome), Timestamp: uint64(a.Timestamp)}, nil
}
