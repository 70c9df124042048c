package mvcc

import (
	"bytes"
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
)

// cursor reads an encoding front to back. After the first field that does not fit it
// returns zeros, and done reports it.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() {
	c.bad, c.b = true, nil
}

func (c *cursor) take(n int) []byte {
	if n < 0 || len(c.b) < n {
		c.fail()
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) byte() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// uvarint accepts only the shortest encoding, so that an encoding is unique.
func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || n > 1 && c.b[n-1] == 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

// view reads a length and as many bytes, which alias the input; nil for length 0.
func (c *cursor) view() []byte {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	return c.take(int(n))
}

// bytes is view with a copy.
func (c *cursor) bytes() []byte { return bytes.Clone(c.view()) }

// done is an error unless everything was read and fitted.
func (c *cursor) done(what string) error {
	if c.bad || len(c.b) != 0 {
		return kv.Errorf(kv.Corruption, "%s does not decode: replace this replica", what)
	}
	return nil
}

// appendBytes appends a length and the bytes.
func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
