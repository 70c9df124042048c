package ycsb

import (
	"fmt"
	"math"
	"strings"
)

// Kind is the kind of one operation.
type Kind uint8

// The kinds, in the order in which a Mix is drawn from.
const (
	Read Kind = iota
	Update
	Insert
	Scan
	ReadModifyWrite
	KindCount = iota
)

var kindNames = [KindCount]string{"read", "update", "insert", "scan", "read_modify_write"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Distribution says how a record is chosen for an operation that is no insert.
type Distribution string

// The distributions.
const (
	Uniform        Distribution = "uniform" // over the records that were loaded
	ZipfianScatter Distribution = "zipfian" // Scrambled: the zipfian of the core workloads
	ZipfianPlain   Distribution = "zipf"    // Zipfian over the records: record 0 is the hottest
	Latest         Distribution = "latest"  // Zipfian counted back from the newest record
)

// Mix is what a workload does: the shares of the kinds, and the choice of records.
type Mix struct {
	Name    string
	Shares  [KindCount]float64 // invariant: they add up to 1
	Request Distribution
	ScanMin int // length of a scan in records, uniform in ScanMin..ScanMax
	ScanMax int
	Order   Order
}

// Core is the core workload of a letter, a to f.
func Core(letter string) (Mix, error) {
	m := Mix{Name: "ycsb-" + strings.ToLower(letter), Request: ZipfianScatter, ScanMin: 1, ScanMax: 100}
	switch strings.ToLower(letter) {
	case "a":
		m.Shares[Read], m.Shares[Update] = 0.5, 0.5
	case "b":
		m.Shares[Read], m.Shares[Update] = 0.95, 0.05
	case "c":
		m.Shares[Read] = 1
	case "d":
		m.Shares[Read], m.Shares[Insert], m.Request = 0.95, 0.05, Latest
	case "e":
		m.Shares[Scan], m.Shares[Insert] = 0.95, 0.05
	case "f":
		m.Shares[Read], m.Shares[ReadModifyWrite] = 0.5, 0.5
	default:
		return Mix{}, fmt.Errorf("there is no core workload %q: they are a, b, c, d, e and f", letter)
	}
	return m, nil
}

// Writes reports whether the mix changes anything.
func (m *Mix) Writes() bool {
	return m.Shares[Update] > 0 || m.Shares[Insert] > 0 || m.Shares[ReadModifyWrite] > 0
}

// Validate says what is wrong with a mix.
func (m *Mix) Validate() error {
	sum := 0.0
	for k, s := range m.Shares {
		if s < 0 || s > 1 {
			return fmt.Errorf("workload %s: the share of %s is %v, it must lie in 0..1", m.Name, Kind(k), s)
		}
		sum += s
	}
	if math.Abs(sum-1) > 1e-9 {
		return fmt.Errorf("workload %s: the shares add up to %v, they must add up to 1", m.Name, sum)
	}
	if m.Shares[Scan] > 0 && (m.ScanMin < 1 || m.ScanMax < m.ScanMin) {
		return fmt.Errorf("workload %s: scans of %d..%d records, they must be 1 or longer and not end below their start", m.Name, m.ScanMin, m.ScanMax)
	}
	switch m.Request {
	case Uniform, ZipfianScatter, ZipfianPlain, Latest:
		return nil
	}
	return fmt.Errorf("workload %s: there is no distribution %q: they are uniform, zipfian, zipf and latest", m.Name, m.Request)
}
