package partition

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// benchSink answers nothing by itself: it counts.
type benchSink struct {
	p       *Partition
	tokens  []uint64
	spare   []uint64
	heard   kv.Timestamp
	replies int
	reads   int
}

func (s *benchSink) Draw(_ *Partition, token uint64) { s.tokens = append(s.tokens, token) }

func (s *benchSink) Call(*Partition, uint64, kv.PartitionID, *kv.Request) {
}
func (s *benchSink) Read(*ReadTask)                                   { s.reads++ }
func (s *benchSink) Reply(_ RequestID, _ *kv.Response, err *kv.Error) { s.replies++ }
func (s *benchSink) Closed(*Partition, kv.Timestamp)                  {}
func (s *benchSink) Propose(*Partition)                               {}
func (s *benchSink) Hasten(*Partition)                                {}
func (s *benchSink) Now() kv.Instant                                  { return 0 }
func (s *benchSink) Heard() kv.Timestamp                              { return s.heard }

func benchPartition() *benchSink {
	s := &benchSink{heard: kv.MakeTimestamp(1<<40, 0)}
	s.p = New(testPartition, Options{}, s)
	defer func() { s.p.ReadDone(&ReadTask{Term: 2, owner: restoring{}}, &ReadResult{restored: &restored{}}) }()
	s.p.Lead(2, &kv.Descriptor{Partition: testPartition, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}, 0, 0)
	return s
}

// turn answers all draws, proposes, commits and applies: what a loop does in one round.
func (s *benchSink) turn(index kv.LogIndex) {
	asked := s.tokens
	s.tokens = s.spare[:0] // draws asked for now are answered in the next turn
	for _, token := range asked {
		s.heard++
		s.p.Drawn(token, s.heard)
	}
	s.spare = asked
	for s.p.TakeProposal(1<<20) != nil {
		s.p.Committed(2, index)
	}
	s.p.Applied(index, 0, 0)
}

// BenchmarkPut is the whole way of a blind put through the loop, in turns of so many; keys are
// drawn from 100,000, or all the same.
func BenchmarkPut(b *testing.B) {
	value := make([]byte, 100)
	for _, size := range []int{1, 64, 1024} {
		for _, hot := range []bool{false, true} {
			b.Run(fmt.Sprintf("turn=%d/hot=%v", size, hot), func(b *testing.B) {
				s := benchPartition()
				reqs := make([]kv.Request, b.N)
				commits := make([]kv.Commit, b.N)
				writes := make([]kv.Write, b.N)
				for i := range reqs {
					k := i * 7919 % 100_000
					if hot {
						k = 0
					}
					writes[i] = kv.Write{Kind: kv.WritePut, Key: fmt.Appendf(nil, "key%016d", k), Value: value}
					commits[i] = kv.Commit{Term: 2, AsOf: s.heard - 1, Writes: writes[i : i+1]}
					binary.BigEndian.PutUint64(commits[i].ID[:], uint64(i)*0x9E3779B97F4A7C15)
					commits[i].ID[15] = 1
					reqs[i].Commit = &commits[i]
				}
				b.ReportAllocs()
				b.ResetTimer()
				index := kv.LogIndex(1)
				for i := range reqs {
					s.p.Request(RequestID(i+1), &reqs[i])
					if i%size == size-1 {
						index++
						s.turn(index)
					}
				}
				for s.replies < b.N {
					index++
					s.turn(index)
				}
			})
		}
	}
}

// BenchmarkStrongRead is a read of one key with nothing under way.
func BenchmarkStrongRead(b *testing.B) {
	s := benchPartition()
	req := &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("key")}}}
	b.ReportAllocs()
	for b.Loop() {
		s.p.Request(1, req)
	}
}

// BenchmarkExecute is what the reader pool does for a read of one key, strong and at a timestamp:
// the latter also looks at the G of the state that it reads.
func BenchmarkExecute(b *testing.B) {
	w := newWorld(b, Options{})
	w.heard = 5
	w.lead(2)
	for i := range 1000 {
		q := &kv.Commit{ID: kv.TxID{1, byte(i >> 8), byte(i)}, Term: 2, AsOf: 1, Writes: []kv.Write{{Kind: kv.WritePut, Key: fmt.Appendf(nil, "key%d", i), Value: make([]byte, 100)}}}
		w.p.Request(RequestID(i), &kv.Request{Commit: q})
	}
	w.quiesce()
	for _, at := range []kv.Timestamp{txn.Strong, w.heard} {
		b.Run("at="+stamp(at), func(b *testing.B) {
			task := &ReadTask{Partition: testPartition, Read: &kv.Read{Keys: []kv.Key{kv.Key("key500")}}, At: at}
			b.ReportAllocs()
			for b.Loop() {
				if res := w.execute(task); len(res.Response.Rows) != 1 {
					b.Fatal(res)
				}
			}
		})
	}
}
