package bench

import (
	"bytes"
	"slices"
	"testing"
)

func TestValueDescribesItself(t *testing.T) {
	key := []byte("user1")
	want := Stamp{Run: 7, Writer: 3, Sequence: 1 << 40}
	for _, n := range []int{ValueBytesMin, 33, 100, 1024, 1027} {
		v := AppendValue([]byte("before"), key, want, n)[len("before"):]
		if len(v) != n {
			t.Fatalf("a value of %d bytes has %d", n, len(v))
		}
		if got, err := CheckValue(key, v); err != nil || got != want {
			t.Fatalf("CheckValue = %+v, %v, want %+v", got, err, want)
		}
		for i := range v {
			spoilt := slices.Clone(v)
			spoilt[i] ^= 0x10
			if _, err := CheckValue(key, spoilt); err == nil {
				t.Fatalf("%d bytes: a changed byte %d was not noticed", n, i)
			}
		}
		if _, err := CheckValue(key, v[:n-1]); err == nil {
			t.Errorf("%d bytes: a cut was not noticed", n)
		}
		if _, err := CheckValue([]byte("user2"), v); err == nil {
			t.Error("the value of another key was not noticed")
		}
	}
}

func TestValuesDiffer(t *testing.T) {
	a := AppendValue(nil, []byte("k"), Stamp{Sequence: 1}, 100)
	b := AppendValue(nil, []byte("k"), Stamp{Sequence: 2}, 100)
	if bytes.Equal(a[ValueBytesMin:], b[ValueBytesMin:]) {
		t.Error("two writes have the same fill")
	}
	zeros := bytes.Count(a, []byte{0})
	if zeros > 40 {
		t.Errorf("the value is not random: %d zeros", zeros)
	}
}

func FuzzCheckValue(f *testing.F) {
	f.Add([]byte("k"), AppendValue(nil, []byte("k"), Stamp{Run: 1, Writer: 2, Sequence: 3}, 64))
	f.Add([]byte(""), []byte{})
	f.Add([]byte("k"), make([]byte, ValueBytesMin))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s, err := CheckValue(key, value)
		if err != nil {
			return
		}
		// What passes describes itself wholly: header and checksum can be made again.
		again := AppendValue(nil, key, s, len(value))
		if !bytes.Equal(again[:checksumOffset], value[:checksumOffset]) {
			t.Fatalf("%x passed as a value of %x", value, key)
		}
	})
}

func BenchmarkValue(b *testing.B) {
	key := []byte("user6284781860667377211")
	var v []byte
	for b.Loop() {
		v = AppendValue(v[:0], key, Stamp{Run: 1, Writer: 2, Sequence: 3}, 100)
		if _, err := CheckValue(key, v); err != nil {
			b.Fatal(err)
		}
	}
}
