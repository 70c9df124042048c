package ycsb

import (
	"math"
	"math/rand/v2"
)

// Theta is the skew of all core workloads.
const Theta = 0.99

// Zipfian draws numbers below a count, number i in proportion to 1/(i+1)^theta (Gray et
// al., "Quickly generating billion-record synthetic databases", SIGMOD 1994). The sum
// over all items, zeta, is extended when the count grows.
type Zipfian struct {
	theta, alpha, zeta2 float64
	items               uint64  // zetaN is the sum over these
	zetaN               float64 // invariant: sum of 1/i^theta for i in 1..items
	eta                 float64
}

// NewZipfian makes a Zipfian over 0..items-1; theta lies between 0 and 1, both excluded.
// It takes time in proportion to items.
func NewZipfian(items uint64, theta float64) *Zipfian {
	z := &Zipfian{theta: theta, alpha: 1 / (1 - theta), zeta2: zeta(0, 2, theta, 0)}
	z.Grow(items)
	return z
}

// newZipfianOf is NewZipfian for a count whose zeta is known.
func newZipfianOf(items uint64, theta, zetaN float64) *Zipfian {
	z := &Zipfian{theta: theta, alpha: 1 / (1 - theta), zeta2: zeta(0, 2, theta, 0), items: items, zetaN: zetaN}
	z.setEta()
	return z
}

// zeta adds the terms from+1..to to a sum.
func zeta(from, to uint64, theta, sum float64) float64 {
	for i := from + 1; i <= to; i++ {
		sum += math.Pow(float64(i), -theta)
	}
	return sum
}

// Grow raises the count to items; a smaller one is ignored.
func (z *Zipfian) Grow(items uint64) {
	if items <= z.items {
		return
	}
	z.zetaN = zeta(z.items, items, z.theta, z.zetaN)
	z.items = items
	z.setEta()
}

func (z *Zipfian) setEta() {
	z.eta = (1 - math.Pow(2/float64(z.items), 1-z.theta)) / (1 - z.zeta2/z.zetaN)
}

// Next draws a number below the count; 0 is the most frequent.
func (z *Zipfian) Next(r *rand.Rand) uint64 {
	u := r.Float64()
	uz := u * z.zetaN
	if uz < 1 || z.items < 2 {
		return 0
	}
	if uz < 1+math.Pow(0.5, z.theta) {
		return 1
	}
	n := uint64(float64(z.items) * math.Pow(z.eta*u-z.eta+1, z.alpha))
	return min(n, z.items-1) // rounding may reach the count itself
}

// The item count over which "zipfian" draws before it hashes, and its zeta at Theta.
const (
	scrambledItems = 10_000_000_000
	scrambledZeta  = 26.46902820178302
)

// Scrambled draws numbers below a count, zipfian in popularity, the popular ones spread
// over the whole count by a hash.
type Scrambled struct {
	zipfian *Zipfian
	items   uint64
}

// NewScrambled makes a Scrambled over 0..items-1.
func NewScrambled(items uint64) *Scrambled {
	return &Scrambled{zipfian: newZipfianOf(scrambledItems, Theta, scrambledZeta), items: items}
}

// Next draws a number below the count.
func (s *Scrambled) Next(r *rand.Rand) uint64 { return Hash(s.zipfian.Next(r)) % s.items }

// The parameters of FNV-1a with 64 bits.
const (
	fnvOffset = 0xCBF29CE484222325
	fnvPrime  = 1099511628211
)

// Hash is FNV-1a over the eight bytes of n, least significant first, as a signed number
// without its sign: the hash that names records in every implementation of YCSB.
func Hash(n uint64) uint64 {
	h := uint64(fnvOffset)
	for range 8 {
		h = (h ^ n&0xff) * fnvPrime
		n >>= 8
	}
	if int64(h) < 0 {
		return -h
	}
	return h
}
