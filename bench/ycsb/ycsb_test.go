package ycsb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHashIsFNV1a(t *testing.T) {
	for _, n := range []uint64{0, 1, 2, 255, 256, 123456789, 1<<63 - 1} {
		h := fnv.New64a()
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, n))
		want := int64(h.Sum64())
		if want < 0 {
			want = -want
		}
		if got := Hash(n); got != uint64(want) {
			t.Errorf("Hash(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	// The names that the original gives to its first records.
	for n, want := range []string{"user6284781860667377211", "user8517097267634966620"} {
		if got := string(AppendKey(nil, uint64(n), Hashed)); got != want {
			t.Errorf("record %d is %s, want %s", n, got, want)
		}
	}
	if got := string(AppendKey([]byte("x"), 42, Ordered)); got != "xuser000000000042" {
		t.Errorf("ordered record 42 is %s", got)
	}
	if bytes.Compare(AppendKey(nil, 99, Ordered), AppendKey(nil, 100, Ordered)) >= 0 {
		t.Error("ordered keys are not in the order of their numbers")
	}
}

// concentration draws and returns the share of the hottest, the ten hottest, and the
// hottest hundredth and tenth of the items.
func concentration(items uint64, next func(*rand.Rand) uint64) (hottest, top10, top1pct, top10pct float64) {
	const draws = 1_000_000
	r := rand.New(rand.NewPCG(1, 2))
	counts := make([]int, items)
	for range draws {
		counts[next(r)]++
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	share := func(n uint64) float64 {
		sum := 0
		for _, c := range counts[:n] {
			sum += c
		}
		return float64(sum) / draws
	}
	return share(1), share(10), share(items / 100), share(items / 10)
}

// The expected shares were measured with the original's formulas over 5 million draws.
func TestConcentration(t *testing.T) {
	for _, c := range []struct {
		name  string
		items uint64
		next  func(*rand.Rand) uint64
		want  [4]float64
	}{
		{"scrambled", 1_000, NewScrambled(1_000).Next, [4]float64{0.0388, 0.131, 0.131, 0.296}},
		{"plain", 1_000, NewZipfian(1_000, Theta).Next, [4]float64{0.1294, 0.398, 0.398, 0.696}},
		{"scrambled", 100_000, NewScrambled(100_000).Next, [4]float64{0.0379, 0.118, 0.304, 0.45}},
		{"plain", 100_000, NewZipfian(100_000, Theta).Next, [4]float64{0.0783, 0.243, 0.613, 0.805}},
	} {
		a, b, d, e := concentration(c.items, c.next)
		for i, got := range []float64{a, b, d, e} {
			if math.Abs(got/c.want[i]-1) > 0.05 {
				t.Errorf("%s over %d: shares %.4f, want %.4f within 5 %%", c.name, c.items, got, c.want[i])
			}
		}
	}
}

// The plain Zipfian is its definition: item i has probability 1/(i+1)^theta/zeta. The
// method of Gray et al. is exact for the first two items and a smooth approximation after.
func TestZipfianFollowsItsDefinition(t *testing.T) {
	const items, draws = 1000, 2_000_000
	z := NewZipfian(items, Theta)
	if math.Abs(z.zetaN-7.728953) > 1e-5 {
		t.Errorf("zeta(1000) = %v, want 7.728953", z.zetaN)
	}
	r := rand.New(rand.NewPCG(3, 4))
	counts := make([]float64, items)
	for range draws {
		counts[z.Next(r)]++
	}
	for i := range 2 {
		want := draws * math.Pow(float64(i+1), -Theta) / z.zetaN
		if deviation := math.Abs(counts[i]-want) / math.Sqrt(want); deviation > 5 {
			t.Errorf("item %d was drawn %v times, want %v (%.1f sigma)", i, counts[i], want, deviation)
		}
	}
	// Cumulative shares at powers of two stay within 2.5 % of the whole.
	sum, want := 0.0, 0.0
	for i := range items {
		sum += counts[i] / draws
		want += math.Pow(float64(i+1), -Theta) / z.zetaN
		if i&(i+1) == 0 && math.Abs(sum-want) > 0.025 {
			t.Errorf("items 0..%d have the share %.4f, want %.4f", i, sum, want)
		}
	}
}

func TestGrowEqualsNew(t *testing.T) {
	grown := NewZipfian(10, Theta)
	grown.Grow(500)
	grown.Grow(400) // smaller: ignored
	grown.Grow(1000)
	fresh := NewZipfian(1000, Theta)
	if math.Abs(grown.zetaN-fresh.zetaN) > 1e-9 || math.Abs(grown.eta-fresh.eta) > 1e-12 || grown.items != 1000 {
		t.Errorf("grown %+v, new %+v", grown, fresh)
	}
}

// chiSquare is the statistic of counts against expected ones; with k cells its mean is
// k-1 and its standard deviation sqrt(2(k-1)).
func chiSquare(counts, want []float64) float64 {
	sum := 0.0
	for i := range counts {
		d := counts[i] - want[i]
		sum += d * d / want[i]
	}
	return sum
}

func TestUniform(t *testing.T) {
	const items, draws = 100, 200_000
	mix := Mix{Name: "get", Shares: [KindCount]float64{Read: 1}, Request: Uniform}
	st := newStream(t, mix, items, 0)
	counts, want := make([]float64, items), make([]float64, items)
	for range draws {
		counts[st.Next().Record]++
	}
	for i := range want {
		want[i] = draws / items
	}
	if x := chiSquare(counts, want); x > 99+6*math.Sqrt(2*99) || x < 40 {
		t.Errorf("chi-square of the uniform choice is %.1f, expected about 99", x)
	}
}

func newStream(t *testing.T, mix Mix, loaded, expectedInserts uint64) *Stream {
	t.Helper()
	src, err := NewSource(mix, NewRecords(loaded), expectedInserts, 7)
	if err != nil {
		t.Fatal(err)
	}
	return src.Stream(0)
}

func TestCoreMixes(t *testing.T) {
	const draws = 100_000
	for letter, want := range map[string]map[Kind]float64{
		"a": {Read: 0.5, Update: 0.5},
		"b": {Read: 0.95, Update: 0.05},
		"c": {Read: 1},
		"d": {Read: 0.95, Insert: 0.05},
		"e": {Scan: 0.95, Insert: 0.05},
		"f": {Read: 0.5, ReadModifyWrite: 0.5},
	} {
		mix, err := Core(letter)
		if err != nil {
			t.Fatal(err)
		}
		st := newStream(t, mix, 1000, 100)
		counts := map[Kind]float64{}
		lengths := make([]float64, 101)
		for range draws {
			op := st.Next()
			counts[op.Kind]++
			if op.Kind == Insert {
				st.records.Settle(op.Record, true)
			} else if !st.records.Readable(op.Record) {
				t.Fatalf("workload %s: %+v names a record that does not exist", letter, op)
			}
			if op.Kind == Scan {
				lengths[op.Length]++
			}
		}
		for k := range Kind(KindCount) {
			if got := counts[k] / draws; math.Abs(got-want[k]) > 0.005 {
				t.Errorf("workload %s: %s has the share %.4f, want %v", letter, k, got, want[k])
			}
		}
		if letter == "e" {
			checkLengths(t, lengths, counts[Scan])
		}
	}
	if _, err := Core("g"); err == nil {
		t.Error("there is a workload g")
	}
}

func checkLengths(t *testing.T, lengths []float64, scans float64) {
	t.Helper()
	if lengths[0] != 0 {
		t.Error("a scan has the length 0")
	}
	want := make([]float64, 100)
	for i := range want {
		want[i] = scans / 100
	}
	if x := chiSquare(lengths[1:], want); x > 99+6*math.Sqrt(2*99) {
		t.Errorf("chi-square of the scan lengths is %.1f, expected about 99", x)
	}
}

func TestLatestPrefersTheNewest(t *testing.T) {
	mix, _ := Core("d")
	mix.Shares = [KindCount]float64{Read: 1}
	st := newStream(t, mix, 1000, 0)
	for range 500 {
		st.records.Settle(st.records.Insert(), true)
	}
	const draws = 200_000
	counts := make([]float64, 1500)
	for range draws {
		counts[st.Next().Record]++
	}
	z := NewZipfian(1500, Theta)
	want := draws / z.zetaN
	if math.Abs(counts[1499]-want) > 5*math.Sqrt(want) {
		t.Errorf("the newest record was drawn %v times, want %v", counts[1499], want)
	}
	if counts[1498] <= counts[1490] || counts[1490] <= counts[1400] {
		t.Errorf("popularity does not fall with age: %v %v %v", counts[1498], counts[1490], counts[1400])
	}
}

func TestRecordsSettleInOrder(t *testing.T) {
	r := NewRecords(10)
	a, b, c := r.Insert(), r.Insert(), r.Insert()
	r.Settle(b, true)
	if r.Limit() != 10 || r.Readable(b) {
		t.Errorf("limit %d after an insert out of order, want 10", r.Limit())
	}
	r.Settle(a, false)
	if r.Limit() != 12 || r.Readable(a) || !r.Readable(b) || r.Readable(c) {
		t.Errorf("limit %d, readable %v %v %v; want 12, false true false", r.Limit(), r.Readable(a), r.Readable(b), r.Readable(c))
	}
	r.Settle(c, true)
	if r.Limit() != 13 || !r.Readable(c) || !r.Readable(9) {
		t.Errorf("limit %d, want 13", r.Limit())
	}
}

func TestStreamsAreDeterministic(t *testing.T) {
	mix, _ := Core("a")
	draw := func(seed, number uint64) []Op {
		src, err := NewSource(mix, NewRecords(1000), 0, seed)
		if err != nil {
			t.Fatal(err)
		}
		st := src.Stream(number)
		ops := make([]Op, 100)
		for i := range ops {
			ops[i] = st.Next()
		}
		return ops
	}
	if !slices.Equal(draw(1, 1), draw(1, 1)) {
		t.Error("the same seed gave other operations")
	}
	if slices.Equal(draw(1, 1), draw(2, 1)) || slices.Equal(draw(1, 1), draw(1, 2)) {
		t.Error("another seed or number gave the same operations")
	}
}

func TestValidate(t *testing.T) {
	ok, _ := Core("e")
	for name, spoil := range map[string]func(*Mix){
		"shares do not add up":  func(m *Mix) { m.Shares[Scan] = 0.5 },
		"a share is negative":   func(m *Mix) { m.Shares[Scan], m.Shares[Read] = -0.05, 1 },
		"a scan of nothing":     func(m *Mix) { m.ScanMin = 0 },
		"a scan backwards":      func(m *Mix) { m.ScanMax = 0 },
		"unknown distribution":  func(m *Mix) { m.Request = "gauss" },
		"distribution is empty": func(m *Mix) { m.Request = "" },
	} {
		m := ok
		spoil(&m)
		if m.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewSource(ok, NewRecords(0), 0, 1); err == nil {
		t.Error("a source over no records was accepted")
	}
}

func ExampleCore() {
	mix, _ := Core("a")
	src, _ := NewSource(mix, NewRecords(1000), 0, 1)
	worker := src.Stream(0)
	op := worker.Next()
	fmt.Printf("%s %s\n", op.Kind, AppendKey(nil, op.Record, mix.Order)[:4])
	fmt.Println(mix.Shares[Read], mix.Shares[Update], mix.Request)
	// Output:
	// read user
	// 0.5 0.5 zipfian
}

func BenchmarkNext(b *testing.B) {
	for _, letter := range []string{"a", "d", "e"} {
		b.Run(letter, func(b *testing.B) {
			mix, _ := Core(letter)
			src, _ := NewSource(mix, NewRecords(1_000_000), 0, 1)
			st := src.Stream(0)
			for b.Loop() {
				if op := st.Next(); op.Kind == Insert {
					st.records.Settle(op.Record, true)
				}
			}
		})
	}
}
