package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func appendTiming(b []byte, t *kv.Timing) []byte {
	b = binary.AppendUvarint(b, uint64(t.Node))
	b = appendSpent(b, &t.Spent)
	b = binary.AppendUvarint(b, uint64(len(t.Parts)))
	for i := range t.Parts {
		p := &t.Parts[i]
		b = binary.AppendUvarint(b, uint64(p.Partition))
		b = binary.AppendUvarint(b, uint64(p.Node))
		b = appendMicros(b, p.Elapsed)
		b = appendMicros(b, p.Staged)
		b = appendSpent(b, &p.Spent)
	}
	return b
}

func appendSpent(b []byte, s *kv.Spent) []byte {
	b = appendMicros(b, s.LockWait)
	b = appendMicros(b, s.Draw)
	b = appendMicros(b, s.Consensus)
	return appendMicros(b, s.Storage)
}

func appendMicros(b []byte, d time.Duration) []byte {
	return binary.AppendUvarint(b, uint64(max(d, 0)/time.Microsecond))
}

func decodeTiming(r *reader) *kv.Timing {
	t := &kv.Timing{Node: kv.NodeID(r.uvarint()), Spent: decodeSpent(r)}
	if n := r.count(); n > 0 {
		t.Parts = make([]kv.PartTiming, 0, n)
		for range n {
			t.Parts = append(t.Parts, kv.PartTiming{
				Partition: kv.PartitionID(r.uvarint()), Node: kv.NodeID(r.uvarint()), Elapsed: r.micros(), Staged: r.micros(), Spent: decodeSpent(r),
			})
		}
	}
	return t
}

func decodeSpent(r *reader) kv.Spent {
	return kv.Spent{LockWait: r.micros(), Draw: r.micros(), Consensus: r.micros(), Storage: r.micros()}
}

// micros takes a duration in microseconds; one that does not fit is refused.
func (r *reader) micros() time.Duration {
	v := r.uvarint()
	if v > math.MaxInt64/uint64(time.Microsecond) {
		r.fail()
		return 0
	}
	return time.Duration(v) * time.Microsecond
}
