package bench

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"
)

// ValueBytesMin is the shortest value that can describe itself:
//
//	[hash of the key 8][run 8][writer 4][sequence 8][checksum 4][fill]
//
// Numbers are little-endian; the checksum is CRC-32C over everything else. The fill is
// pseudo-random, so that a store which compresses gains nothing by it.
const ValueBytesMin = 32

const checksumOffset = 28

// Stamp says who wrote a value, and as the how-manieth.
type Stamp struct {
	Run      uint64 // drawn for each run
	Writer   uint32 // number of the worker
	Sequence uint64 // per writer, from 1, in the order in which it began its writes
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendValue appends a value of n bytes for a key to dst; n must be ValueBytesMin or more.
func AppendValue(dst, key []byte, s Stamp, n int) []byte {
	start := len(dst)
	hash := xxhash.Sum64(key)
	dst = binary.LittleEndian.AppendUint64(dst, hash)
	dst = binary.LittleEndian.AppendUint64(dst, s.Run)
	dst = binary.LittleEndian.AppendUint32(dst, s.Writer)
	dst = binary.LittleEndian.AppendUint64(dst, s.Sequence)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendFill(dst, hash^s.Run^s.Sequence<<20^uint64(s.Writer), n-ValueBytesMin)
	v := dst[start:]
	binary.LittleEndian.PutUint32(v[checksumOffset:], checksum(v))
	return dst
}

// appendFill appends n bytes of splitmix64.
func appendFill(dst []byte, state uint64, n int) []byte {
	var word [8]byte
	for n > 0 {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		dst = append(dst, word[:min(n, 8)]...)
		n -= 8
	}
	return dst
}

func checksum(v []byte) uint32 {
	c := crc32.Update(0, castagnoli, v[:checksumOffset])
	return crc32.Update(c, castagnoli, v[ValueBytesMin:])
}

// CheckValue reads the stamp of a value that was found under a key, and says what is wrong
// with the value.
func CheckValue(key, value []byte) (Stamp, error) {
	if len(value) < ValueBytesMin {
		return Stamp{}, fmt.Errorf("the value has %d bytes, no value of the harness is shorter than %d", len(value), ValueBytesMin)
	}
	if got, want := binary.LittleEndian.Uint32(value[checksumOffset:]), checksum(value); got != want {
		return Stamp{}, fmt.Errorf("the value's checksum is %08x, its bytes give %08x", got, want)
	}
	if binary.LittleEndian.Uint64(value) != xxhash.Sum64(key) {
		return Stamp{}, fmt.Errorf("the value was written under another key")
	}
	return Stamp{
		Run:      binary.LittleEndian.Uint64(value[8:]),
		Writer:   binary.LittleEndian.Uint32(value[16:]),
		Sequence: binary.LittleEndian.Uint64(value[20:]),
	}, nil
}
