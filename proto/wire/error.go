package wire

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// What the details of a status may hold: they travel in a header, and many gRPC libraries
// refuse more than 8 KiB there.
const (
	detailValueBytesMax  = 1 << 10 // an Actual with a longer value travels without it
	detailDescriptorsMax = 4
)

var codeOf = [kv.KindMax + 1]codes.Code{
	kv.Internal:       codes.Internal,
	kv.Invalid:        codes.InvalidArgument,
	kv.NotFound:       codes.NotFound,
	kv.Exists:         codes.AlreadyExists,
	kv.Limit:          codes.InvalidArgument,
	kv.NotLeader:      codes.Unavailable,
	kv.WrongPartition: codes.FailedPrecondition,
	kv.StaleTerm:      codes.Aborted,
	kv.Conflict:       codes.Aborted,
	kv.Expectation:    codes.FailedPrecondition,
	kv.Expired:        codes.OutOfRange,
	kv.Aborted:        codes.Aborted,
	kv.Unavailable:    codes.Unavailable,
	kv.Ambiguous:      codes.Unknown,
	kv.TooOld:         codes.OutOfRange,
	kv.Future:         codes.OutOfRange,
	kv.Corruption:     codes.DataLoss,
	kv.Timeout:        codes.DeadlineExceeded,
	kv.Canceled:       codes.Canceled,
	kv.Denied:         codes.PermissionDenied,
	kv.DiskFull:       codes.ResourceExhausted,
	kv.Closed:         codes.Unavailable,
}

// Code is the gRPC code of a kind.
func Code(k kv.Kind) codes.Code {
	if int(k) < len(codeOf) && codeOf[k] != codes.OK {
		return codeOf[k]
	}
	return codes.Internal
}

// Status is an error as a unary call returns it: a gRPC status with a kvpb.Error in its
// details, and further messages behind it.
func Status(e *kv.Error, more ...protoadapt.MessageV1) error {
	m := ErrorMessage(e)
	if m.GetActual() != nil && len(m.Actual.Value) > detailValueBytesMax {
		m.Actual.Value = nil
	}
	if len(m.Descriptors) > detailDescriptorsMax {
		m.Descriptors = m.Descriptors[:detailDescriptorsMax]
	}
	s := status.New(Code(e.Kind), strings.ToValidUTF8(e.Error(), "?"))
	// It cannot fail: the code is not OK, and the messages are of known types.
	if with, err := s.WithDetails(append([]protoadapt.MessageV1{protoadapt.MessageV1Of(m)}, more...)...); err == nil {
		s = with
	}
	return s.Err()
}

// FromStatus is the kv.Error of what a gRPC call returned. A status without details, which
// gRPC itself made, gets the kind that fits its code.
func FromStatus(err error) *kv.Error {
	if err == nil {
		return nil
	}
	var own *kv.Error
	if errors.As(err, &own) {
		return own
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(contextCause(err))
	}
	for _, d := range s.Details() {
		if m, ok := d.(*kvpb.Error); ok {
			return ErrorOf(m)
		}
	}
	return &kv.Error{Kind: kindOf(s.Code()), Message: s.Message()}
}

// Answered reports whether the error of a gRPC call is a node's answer, and not gRPC's own.
func Answered(err error) bool {
	s, ok := status.FromError(err)
	return ok && slices.ContainsFunc(s.Details(), func(d any) bool { _, ok := d.(*kvpb.Error); return ok })
}

// contextCause is the context's error in err, if there is one.
func contextCause(err error) error {
	for _, c := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, c) {
			return c
		}
	}
	return err
}

func kindOf(c codes.Code) kv.Kind {
	switch c {
	case codes.Canceled:
		return kv.Canceled
	case codes.InvalidArgument, codes.Unimplemented, codes.OutOfRange:
		return kv.Invalid
	case codes.DeadlineExceeded:
		return kv.Timeout
	case codes.NotFound:
		return kv.NotFound
	case codes.AlreadyExists:
		return kv.Exists
	case codes.PermissionDenied, codes.Unauthenticated:
		return kv.Denied
	case codes.ResourceExhausted: // gRPC's own answer to a message that is too long
		return kv.Limit
	case codes.Unavailable:
		return kv.Unavailable
	case codes.DataLoss:
		return kv.Corruption
	}
	return kv.Internal
}

// ErrorMessage is an error as a message.
func ErrorMessage(e *kv.Error) *kvpb.Error {
	m := &kvpb.Error{
		Kind: uint32(e.Kind), Message: strings.ToValidUTF8(e.Message, "?"), Key: e.Key, Leader: uint64(e.Leader),
		Partition: uint64(e.Partition), Term: uint64(e.Term), What: strings.ToValidUTF8(e.What, "?"),
		LimitValue: e.LimitValue, Got: e.Got, Oldest: uint64(e.Oldest), Closed: uint64(e.Closed),
	}
	for _, d := range e.Descriptors {
		m.Descriptors = append(m.Descriptors, descriptorMessage(d))
	}
	if e.Actual != nil {
		m.Actual = &kvpb.Pair{Key: e.Actual.Key, Value: e.Actual.Value, Version: uint64(e.Actual.Version)}
	}
	if !e.ID.IsZero() {
		m.Id = e.ID[:]
	}
	if e.Timing != nil {
		m.Timing = appendTiming(nil, e.Timing)
	}
	return m
}

// ErrorOf is the inverse of ErrorMessage. A kind that this side does not know becomes Internal.
func ErrorOf(m *kvpb.Error) *kv.Error {
	e := &kv.Error{
		Kind: kv.Kind(m.GetKind()), Message: m.GetMessage(), Key: m.GetKey(), Leader: kv.NodeID(m.GetLeader()),
		Partition: kv.PartitionID(m.GetPartition()), Term: kv.Term(m.GetTerm()), What: m.GetWhat(),
		LimitValue: m.GetLimitValue(), Got: m.GetGot(), Oldest: kv.Timestamp(m.GetOldest()), Closed: kv.Timestamp(m.GetClosed()),
	}
	if k := m.GetKind(); k == 0 || k > uint32(kv.KindMax) {
		e.Kind = kv.Internal
	}
	for _, d := range m.GetDescriptors() {
		e.Descriptors = append(e.Descriptors, descriptorOf(d))
	}
	if a := m.GetActual(); a != nil {
		e.Actual = &kv.Row{Key: a.GetKey(), Value: a.GetValue(), Version: kv.Timestamp(a.GetVersion())}
	}
	if len(m.GetId()) == len(e.ID) {
		copy(e.ID[:], m.GetId())
	}
	if len(m.GetTiming()) > 0 {
		r := reader{b: m.GetTiming()}
		if t := decodeTiming(&r); !r.bad && len(r.b) == 0 {
			e.Timing = t // else it is lost: the error matters more
		}
	}
	return e
}

func descriptorMessage(d *kv.Descriptor) *kvpb.Descriptor {
	if d == nil {
		return nil
	}
	m := &kvpb.Descriptor{
		Partition: uint64(d.Partition), Keyspace: uint32(d.Keyspace), Start: d.Span.Start, End: d.Span.End,
		Generation: uint64(d.Generation), NextReplica: uint64(d.NextReplica),
	}
	for _, r := range d.Replicas {
		m.Replicas = append(m.Replicas, &kvpb.Replica{Id: uint64(r.ID), Node: uint64(r.Node), Role: uint32(r.Role)})
	}
	return m
}

func descriptorOf(m *kvpb.Descriptor) *kv.Descriptor {
	if m == nil {
		return nil
	}
	d := &kv.Descriptor{
		Partition: kv.PartitionID(m.GetPartition()), Keyspace: kv.KeyspaceID(m.GetKeyspace()),
		Span:       kv.Span{Start: slices.Clone(m.GetStart()), End: slices.Clone(m.GetEnd())},
		Generation: kv.Generation(m.GetGeneration()), NextReplica: kv.ReplicaID(m.GetNextReplica()),
	}
	for _, r := range m.GetReplicas() {
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(r.GetId()), Node: kv.NodeID(r.GetNode()), Role: kv.Role(r.GetRole())})
	}
	return d
}
