package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// What the leader of one partition asks that of another travels in the messages between nodes, not in a
// batch: the same requests, responses and errors, without frames around them.

// The kinds of answer to a call.
const (
	answerResponse = 1
	answerError    = 2
)

// stageRecover is the flag of a stage.
const stageRecover = 1

func appendPrepare(b []byte, q *kv.Prepare) []byte {
	if q.InMemory {
		b = append(b, partLock)
	} else {
		b = append(b, partPrepare)
	}
	b = append(b, q.ID[:]...)
	b = binary.AppendUvarint(b, uint64(q.Term))
	b = appendTimestamp(b, q.AsOf)
	b = append(b, q.Age[:]...)
	b = binary.AppendUvarint(b, uint64(q.Partition))
	b = appendBytes(b, q.Anchor)
	b = appendTimestamp(b, q.Start)
	return appendBody(b, q.Reads, q.Spans, q.Writes)
}

func appendStage(b []byte, q *kv.Stage) []byte {
	b = append(append(b, flag(q.Recover, stageRecover)), q.ID[:]...)
	b = appendTimestamp(appendTimestamp(b, q.AsOf), q.Commit)
	return binary.AppendUvarint(b, uint64(q.Term))
}

func decodeStage(r *reader) *kv.Stage {
	flags := r.u8()
	if flags&^stageRecover != 0 {
		r.fail()
	}
	return &kv.Stage{Recover: flags == stageRecover, ID: r.id(), AsOf: r.timestamp(), Commit: r.timestamp(), Term: kv.Term(r.uvarint())}
}

func appendResolve(b []byte, q *kv.Resolve) []byte {
	return appendTimestamp(append(b, q.ID[:]...), q.Commit)
}

func decodeOutcome(r *reader) *kv.OutcomeOf {
	return &kv.OutcomeOf{ID: r.id(), Term: kv.Term(r.uvarint()), AsOf: r.timestamp(), Anchor: r.bytes()}
}

func decodeAsk(r *reader) *kv.OutcomeOf {
	ask, at := kv.AskKind(r.u8()), r.timestamp()
	if ask > kv.AskRead {
		r.fail()
	}
	q := decodeOutcome(r)
	q.Ask, q.At = ask, at
	return q
}

func decodePrepare(r *reader, inMemory bool) *kv.Prepare {
	q := &kv.Prepare{InMemory: inMemory}
	q.ID, q.Term, q.AsOf, q.Age = r.id(), kv.Term(r.uvarint()), r.timestamp(), r.age()
	q.Partition, q.Anchor, q.Start = kv.PartitionID(r.uvarint()), r.bytes(), r.timestamp()
	q.Reads, q.Spans, q.Writes = decodeBody(r, nil)
	return q
}

// AppendCall adds the request of one node to another. It must have exactly one part; all parts can
// travel.
func AppendCall(b []byte, q *kv.Request) []byte { return appendRequest(b, q) }

// DecodeCall reads what AppendCall added, and nothing else, from another node: a client's requests go through
// DecodeRequest, which knows fewer parts. The request aliases b.
func DecodeCall(b []byte) (*kv.Request, *kv.Error) {
	op := new(Op)
	if err := op.decode(&reader{b: b}, partsOfNodes); err != nil {
		return nil, err
	}
	return &op.Request, nil
}

// AppendAnswer adds the answer to a call: a response, or an error if err is not nil. As everywhere on the
// wire, Response.Heard does not travel in it.
func AppendAnswer(b []byte, a *kv.Response, err *kv.Error) []byte {
	if err == nil {
		return appendResponse(append(b, answerResponse), a)
	}
	return appendError(append(b, answerError), err)
}

// DecodeAnswer reads what AppendAnswer added, and nothing else: exactly one of the first two
// is not nil unless bad says why b is none. The response aliases b.
func DecodeAnswer(b []byte) (a *kv.Response, answer, bad *kv.Error) {
	r := reader{b: b}
	switch kind := r.u8(); kind {
	case answerResponse:
		p := new(Reply)
		if err := DecodeResponse(r.b, p); err != nil {
			return nil, nil, err
		}
		return &p.Response, nil, nil
	case answerError:
		var m kvpb.Error
		if err := proto.Unmarshal(r.b, &m); err != nil {
			return nil, nil, invalid("the error of a call: %v", err)
		}
		return nil, ErrorOf(&m), nil
	default:
		return nil, nil, invalid("an answer to a call of kind %d: the kinds are 1 and 2", kind)
	}
}
