package ycsb

import (
	"fmt"
	"math/rand/v2"
)

// Op is one operation.
type Op struct {
	Kind   Kind
	Record uint64 // its key: AppendKey(nil, Record, mix.Order)
	Length int    // Scan: how many records at most
}

// Source makes the streams of one run; they share the records.
type Source struct {
	mix     Mix
	records *Records
	seed    uint64
	zipfian *Zipfian   // prototype for ZipfianPlain and Latest: its sum is dear
	scatter *Scrambled // shared: it does not change
}

// NewSource makes a Source. expectedInserts is a guess at how many records the run will
// insert: the scrambled zipfian spreads its draws over that many more and redraws those
// that do not exist yet, as the original does.
func NewSource(mix Mix, records *Records, expectedInserts, seed uint64) (*Source, error) {
	if err := mix.Validate(); err != nil {
		return nil, err
	}
	if records.loaded == 0 {
		return nil, fmt.Errorf("workload %s needs at least one loaded record", mix.Name)
	}
	s := &Source{mix: mix, records: records, seed: seed}
	switch mix.Request {
	case ZipfianPlain, Latest:
		s.zipfian = NewZipfian(records.loaded, Theta)
	case ZipfianScatter:
		s.scatter = NewScrambled(records.loaded + 2*expectedInserts)
	}
	return s, nil
}

// Stream makes the stream of one worker.
func (s *Source) Stream(number uint64) *Stream {
	st := &Stream{Source: s, rand: rand.New(rand.NewPCG(s.seed, number))}
	if s.zipfian != nil {
		own := *s.zipfian
		st.zipfian = &own
	}
	return st
}

// Stream is an endless row of operations for one worker; it is not safe for concurrent use.
type Stream struct {
	*Source
	rand    *rand.Rand
	zipfian *Zipfian // own copy: it grows with the records
}

// Next is the next operation. The record of an Insert must be settled by the caller.
func (s *Stream) Next() Op {
	op := Op{Kind: s.kind()}
	if op.Kind == Insert {
		op.Record = s.records.Insert()
		return op
	}
	op.Record = s.existing()
	if op.Kind == Scan {
		op.Length = s.mix.ScanMin + s.rand.IntN(s.mix.ScanMax-s.mix.ScanMin+1)
	}
	return op
}

// kind draws by the shares; what rounding leaves over goes to the last kind with a share.
func (s *Stream) kind() Kind {
	u := s.rand.Float64()
	last := Read
	for k, share := range s.mix.Shares {
		if share == 0 {
			continue
		}
		last = Kind(k)
		if u < share {
			break
		}
		u -= share
	}
	return last
}

// existing draws until it meets a record that surely exists. It ends: loaded records
// always exist, and every distribution gives them a share.
func (s *Stream) existing() uint64 {
	for {
		if n := s.draw(); s.records.Readable(n) {
			return n
		}
	}
}

func (s *Stream) draw() uint64 {
	switch s.mix.Request {
	case Uniform:
		return s.rand.Uint64N(s.records.loaded)
	case ZipfianScatter:
		return s.scatter.Next(s.rand)
	case ZipfianPlain:
		return s.zipfian.Next(s.rand)
	}
	newest := s.records.Limit() - 1
	s.zipfian.Grow(newest + 1)
	return newest - min(newest, s.zipfian.Next(s.rand))
}
