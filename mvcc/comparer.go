package mvcc

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// comparerName is written into every table; a store opened with another name is refused
// by Pebble. It never changes.
const comparerName = "kvd.v1"

// comparer orders engine keys: by the part before the suffix byte for byte, then by the
// suffix byte for byte, the empty suffix first. Because every part before a suffix ends in
// the sentinel 0x00, "a" sorts before "a\x00" and all versions of "a" before both. Suffixes
// hold the complement of the version, so that the newest version comes first.
var comparer = pebble.Comparer{
	Name:                 comparerName,
	Split:                splitKey,
	Compare:              compareKeys,
	Equal:                bytes.Equal,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	AbbreviatedKey:       abbreviatedKey,
	Separator:            separator,
	Successor:            successor,
	ImmediateSuccessor:   func(dst, prefix []byte) []byte { return append(append(dst, prefix...), sentinel) },
	ValidateKey:          validateKey,
	FormatKey:            func(k []byte) fmt.Formatter { return formattedKey(k) },
}

// splitKey is the length of the part before the suffix. The last byte of a key is the length
// of its suffix, that byte included; a key without suffix ends in the sentinel, which is 0.
func splitKey(k []byte) int {
	if len(k) == 0 {
		return 0
	}
	n := int(k[len(k)-1])
	if n > len(k) {
		return len(k) // malformed: validateKey reports it
	}
	return len(k) - n
}

func compareKeys(a, b []byte) int {
	i, j := splitKey(a), splitKey(b)
	if c := bytes.Compare(a[:i], b[:j]); c != 0 {
		return c
	}
	return bytes.Compare(a[i:], b[j:])
}

// bareKey is the part before the sentinel; ok is false for a key that has none.
func bareKey(k []byte) (bare []byte, ok bool) {
	n := splitKey(k)
	if n == 0 || k[n-1] != sentinel {
		return nil, false
	}
	return k[:n-1], true
}

func abbreviatedKey(k []byte) uint64 {
	bare, ok := bareKey(k)
	if !ok {
		return 0
	}
	return pebble.DefaultComparer.AbbreviatedKey(bare)
}

// separator appends a short key in [a, b).
func separator(dst, a, b []byte) []byte {
	x, ok := bareKey(a)
	y, ok2 := bareKey(b)
	if !ok || !ok2 || len(x) == 0 || len(y) == 0 || bytes.Equal(x, y) {
		return append(dst, a...)
	}
	n := len(dst)
	dst = pebble.DefaultComparer.Separator(dst, x, y)
	if bytes.Equal(dst[n:], x) {
		return append(dst[:n], a...)
	}
	return append(dst, sentinel)
}

// successor appends a short key that is not below a.
func successor(dst, a []byte) []byte {
	bare, ok := bareKey(a)
	if !ok {
		if len(a) == 0 {
			return append(dst, sentinel)
		}
		return append(dst, a...)
	}
	n := len(dst)
	dst = pebble.DefaultComparer.Successor(dst, bare)
	if bytes.Equal(dst[n:], bare) {
		return append(dst[:n], a...)
	}
	return append(dst, sentinel)
}

// validateKey checks the shape that splitKey relies on. It knows nothing of kinds: Pebble
// also asks about keys with leading bytes removed.
func validateKey(k []byte) error {
	if len(k) == 0 {
		return nil
	}
	n := int(k[len(k)-1])
	switch {
	case n == len(k): // a bare suffix
		return nil
	case n > len(k) || k[len(k)-n-1] != sentinel:
		return fmt.Errorf("engine key %x has no sentinel before its suffix of %d bytes", k, n)
	}
	return nil
}

type formattedKey []byte

func (k formattedKey) Format(s fmt.State, _ rune) {
	n := splitKey(k)
	_, _ = fmt.Fprintf(s, "%x@%x", []byte(k[:n]), []byte(k[n:]))
}
