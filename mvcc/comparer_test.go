package mvcc

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// keyBytes are those that order and separators stumble over: the sentinel, lengths of suffixes,
// kinds, and the ends of the range.
var keyBytes = []byte{0x00, 0x01, 0x03, 0x08, 0x09, 0x11, 0x12, 'a', 0xfe, 0xff}

func randomKey(rng *rand.Rand, n int) kv.Key {
	k := make(kv.Key, rng.IntN(n+1))
	for i := range k {
		k[i] = keyBytes[rng.IntN(len(keyBytes))]
	}
	return k
}

func TestComparerKeepsPebblesContract(t *testing.T) {
	var prefixes, suffixes [][]byte
	for _, k := range []string{"", "a", "a\x00", "a\x00\x00", "a\x09", "ab", "\x00", "\xff", "\xff\xff"} {
		prefixes = append(prefixes, appendPrefix(nil, kindData, []byte(k)), appendPrefix(nil, kindLock, []byte(k)))
	}
	for _, ts := range []kv.Timestamp{1, 2, 255, 256, 1 << 40, MaxTimestamp - 1, MaxTimestamp} {
		suffixes = append(suffixes, appendVersion(nil, ts))
	}
	if err := pebble.CheckComparer(&comparer, prefixes, suffixes); err != nil {
		t.Error(err)
	}
	lock := appendLockKey(nil, nil, Shared, kv.TxID{1})
	record := appendRecordKey(nil, nil, kv.TxID{2})
	suffixes = [][]byte{lock[splitKey(lock):], record[splitKey(record):]}
	if err := pebble.CheckComparer(&comparer, prefixes, suffixes); err != nil {
		t.Error(err)
	}
}

type dataKey struct {
	k  kv.Key
	ts kv.Timestamp
}

func randomDataKey(rng *rand.Rand) (dataKey, []byte) {
	d := dataKey{randomKey(rng, 4), kv.Timestamp(1 + rng.IntN(5))}
	return d, appendDataKey(nil, d.k, d.ts)
}

func TestDataKeysOrderByKeyThenNewestFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50_000 {
		x, a := randomDataKey(rng)
		y, b := randomDataKey(rng)
		want := cmp.Or(bytes.Compare(x.k, y.k), cmp.Compare(y.ts, x.ts))
		if got := comparer.Compare(a, b); got != want {
			t.Fatalf("compare %v %v: %d, want %d", x, y, got, want)
		}
		if comparer.Equal(a, b) != (want == 0) {
			t.Fatalf("equal %v %v", x, y)
		}
		if p, q := comparer.AbbreviatedKey(a), comparer.AbbreviatedKey(b); p < q && want > 0 || p > q && want < 0 {
			t.Fatalf("abbreviated %v %v: %d %d", x, y, p, q)
		}
		if err := comparer.ValidateKey.Validate(a); err != nil {
			t.Fatal(err)
		}
		k, ts, err := splitDataKey(a)
		if err != nil || !bytes.Equal(k, x.k) || ts != x.ts {
			t.Fatalf("split %v: %x %d %v", x, k, ts, err)
		}
	}
}

func TestSeparatorsSeparate(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	shorter := 0
	for range 50_000 {
		_, a := randomDataKey(rng)
		_, b := randomDataKey(rng)
		if comparer.Compare(a, b) > 0 {
			a, b = b, a
		}
		dst := []byte("kept")
		if comparer.Compare(a, b) < 0 {
			s := comparer.Separator(slices.Clone(dst), a, b)
			if !bytes.HasPrefix(s, dst) {
				t.Fatalf("the separator of %x and %x overwrote dst", a, b)
			}
			s = s[len(dst):]
			if comparer.Compare(a, s) > 0 || comparer.Compare(s, b) >= 0 || comparer.ValidateKey.Validate(s) != nil {
				t.Fatalf("%x does not separate %x and %x", s, a, b)
			}
			if len(s) < len(a) {
				shorter++
			}
		}
		if s := comparer.Successor(nil, a); comparer.Compare(s, a) < 0 || comparer.ValidateKey.Validate(s) != nil {
			t.Fatalf("successor of %x: %x", a, s)
		}
		p := a[:splitKey(a)]
		n := comparer.ImmediateSuccessor(nil, p)
		if comparer.Compare(p, n) >= 0 || splitKey(n) != len(n) {
			t.Fatalf("immediate successor of %x: %x", p, n)
		}
		if bare, _ := bareKey(n); !bytes.Equal(bare, append(slices.Clone(a[:splitKey(a)-1]), 0)) {
			t.Fatalf("immediate successor of %x: %x", p, n)
		}
	}
	if shorter == 0 {
		t.Error("no separator was shorter than its key")
	}
}

func TestMalformedKeysAreRefusedAndSplitsStayInBounds(t *testing.T) {
	for _, k := range [][]byte{{0x05}, {1, 1, 1}, {kindData, 'a', 1, 2, 3, 4, 5, 6, 7, 8, 9, 9}} {
		if err := comparer.ValidateKey.Validate(k); err == nil {
			t.Errorf("%x is valid", k)
		}
		if n := splitKey(k); n < 0 || n > len(k) {
			t.Errorf("split of %x is %d", k, n)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add(appendDataKey(nil, kv.MakeKey(3, []byte("k")), 77))
	f.Add(appendLockKey(nil, kv.Key("k"), Exclusive, kv.TxID{9}))
	f.Add(appendRecordKey(nil, kv.Key("k"), kv.TxID{9}))
	f.Add(appendStateKey(nil, 5, stateApplied))
	f.Add(appendSystemKey(nil, "core/1"))
	f.Add([]byte{0x09})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := splitKey(b); n < 0 || n > len(b) {
			t.Fatalf("split of %x is %d", b, n)
		}
		if k, ts, err := splitDataKey(b); err == nil && !bytes.Equal(appendDataKey(nil, k, ts), b) {
			t.Fatalf("data key %x", b)
		}
		if k, s, id, err := splitLockKey(b); err == nil && !bytes.Equal(appendLockKey(nil, k, s, id), b) {
			t.Fatalf("lock key %x", b)
		}
		if k, id, err := splitRecordKey(b); err == nil && !bytes.Equal(appendRecordKey(nil, k, id), b) {
			t.Fatalf("record key %x", b)
		}
		if p, sub, err := splitStateKey(b); err == nil && !bytes.Equal(appendStateKey(nil, p, sub), b) {
			t.Fatalf("state key %x", b)
		}
		if k, err := splitSystemKey(b); err == nil && !bytes.Equal(appendSystemKey(nil, k), b) {
			t.Fatalf("system key %x", b)
		}
	})
}
