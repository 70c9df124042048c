package wire

import (
	"math/rand/v2"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func randomBytes(rng *rand.Rand, max int) []byte {
	n := rng.IntN(max + 1)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func list[T any](rng *rand.Rand, max int, one func() T) []T {
	var l []T
	for range rng.IntN(max + 1) {
		l = append(l, one())
	}
	return l
}

func randomSpan(rng *rand.Rand) kv.Span {
	return kv.Span{Start: randomBytes(rng, 20), End: randomBytes(rng, 20)}
}

func randomID(rng *rand.Rand) (id kv.TxID) {
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	return id
}

func randomReads(rng *rand.Rand) []kv.ReadMark {
	return list(rng, 3, func() kv.ReadMark { return kv.ReadMark{Key: randomBytes(rng, 40)} })
}

func randomSpans(rng *rand.Rand) []kv.Span {
	return list(rng, 3, func() kv.Span { return randomSpan(rng) })
}

func randomWrites(rng *rand.Rand) []kv.Write {
	return list(rng, 3, func() kv.Write { return randomWrite(rng) })
}

// randomRequest is one that a client may send.
func randomRequest(rng *rand.Rand) *kv.Request {
	q := &kv.Request{Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint32()), Trace: rng.IntN(2) == 0}
	key := func() kv.Key { return randomBytes(rng, 300) }
	at := kv.Timestamp(rng.Uint64())
	switch rng.IntN(4) {
	case 0:
		q.Read = &kv.Read{Timestamp: at, Keys: list(rng, 4, key), Stamped: rng.IntN(2) == 0, Stale: randomStale(rng)}
		if q.Read.Keys == nil {
			q.Read.Keys = []kv.Key{}
		}
		if rng.IntN(2) == 0 {
			q.Read.Claim = kv.Age(randomID(rng))
		}
	case 1:
		q.Scan = &kv.Scan{
			Span: randomSpan(rng), Timestamp: at, Reverse: rng.IntN(2) == 0, KeysOnly: rng.IntN(2) == 0, CountOnly: rng.IntN(2) == 0,
			Keys: rng.IntN(kv.ScanPageKeysMax), Bytes: rng.IntN(kv.ScanPageBytesMax), Stale: randomStale(rng),
		}
	case 2:
		q.Commit = &kv.Commit{
			ID: randomID(rng), Term: kv.Term(rng.Uint64()), AsOf: at, Start: at / 3,
			Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
		}
		if q.Commit.Writes == nil {
			q.Commit.Writes = []kv.Write{}
		}
		if rng.IntN(2) == 0 {
			q.Commit.Age = kv.Age(randomID(rng))
		}
		if rng.IntN(2) == 0 {
			q.Commit.Parts = list(rng, 3, func() kv.Part {
				return kv.Part{
					Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint64()),
					Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
				}
			})
		}
	default:
		q.Outcome = &kv.OutcomeOf{ID: randomID(rng), Term: 7, AsOf: at, Anchor: key()}
	}
	return q
}

func randomStale(rng *rand.Rand) (s kv.Stale) {
	s.Follower = rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		s.NotBefore = kv.Timestamp(rng.Uint64())
	}
	return s
}

// randomCall is one that only a node sends.
func randomCall(rng *rand.Rand) *kv.Request {
	q := &kv.Request{Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint32()), Trace: rng.IntN(2) == 0}
	at := kv.Timestamp(rng.Uint64())
	switch rng.IntN(4) {
	case 0:
		q.Prepare = &kv.Prepare{
			InMemory: rng.IntN(2) == 0,
			Attempt: kv.Attempt{
				ID: randomID(rng), Term: kv.Term(rng.Uint64()), AsOf: at, Age: kv.Age(randomID(rng)),
				Partition: kv.PartitionID(rng.Uint64()), Anchor: randomBytes(rng, 40),
			},
			Start: at / 3, Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
		}
	case 1:
		q.Stage = &kv.Stage{ID: randomID(rng), AsOf: at, Commit: at / 7, Term: kv.Term(rng.Uint64()), Recover: rng.IntN(2) == 0}
	case 2:
		q.Resolve = &kv.Resolve{ID: randomID(rng), Commit: at}
	default:
		q.Outcome = &kv.OutcomeOf{ID: randomID(rng), Term: 7, AsOf: at, Anchor: randomBytes(rng, 40), Ask: kv.AskKind(1 + rng.IntN(3)), At: at / 5}
	}
	return q
}

func randomWrite(rng *rand.Rand) kv.Write {
	w := kv.Write{Kind: kv.WriteKind(1 + rng.IntN(3)), Key: randomBytes(rng, 40)}
	switch w.Kind {
	case kv.WritePut:
		w.Value = randomBytes(rng, 1000)
	case kv.WriteAdd:
		w.Delta = int64(rng.Uint64())
	}
	w.Expect.Kind = kv.ExpectKind(rng.IntN(4))
	switch w.Expect.Kind {
	case kv.ExpectVersion:
		w.Expect.Version = kv.Timestamp(rng.Uint64())
	case kv.ExpectValue:
		w.Expect.Value = randomBytes(rng, 30)
	}
	return w
}

func randomError(rng *rand.Rand, k kv.Kind) *kv.Error {
	e := &kv.Error{
		Kind: k, Message: "message", Key: randomBytes(rng, 20), Leader: kv.NodeID(rng.Uint64()), Partition: 5, Term: kv.Term(rng.Uint64()),
		What: "what", Oldest: 11, Closed: kv.Timestamp(rng.Uint64()), LimitValue: -1, Got: 1 << 50, Actual: &kv.Row{Key: []byte("k"), Value: []byte("v"), Version: 9},
	}
	e.Descriptors = []*kv.Descriptor{{
		Partition: 3, Keyspace: 4, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("b")}, Generation: 6, NextReplica: 7,
		Replicas: []kv.Replica{{ID: 1, Node: 2, Role: kv.RoleVoter}, {ID: 2, Node: 3, Role: kv.RoleLearner}},
	}}
	copy(e.ID[:], "0123456789abcdef")
	if rng.IntN(2) == 0 {
		e.Timing = randomTiming(rng)
	}
	return e
}

func randomTiming(rng *rand.Rand) *kv.Timing {
	micros := func() time.Duration { return time.Duration(rng.Uint32()) * time.Microsecond }
	spent := func() kv.Spent {
		return kv.Spent{LockWait: micros(), Draw: micros(), Consensus: micros(), Storage: micros()}
	}
	return &kv.Timing{Node: kv.NodeID(rng.Uint64()), Spent: spent(), Parts: list(rng, 3, func() kv.PartTiming {
		return kv.PartTiming{Partition: kv.PartitionID(rng.Uint64()), Node: kv.NodeID(rng.Uint64()), Elapsed: micros(), Staged: micros(), Spent: spent()}
	})}
}
