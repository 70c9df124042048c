package kv

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func sampleDescriptors() []*Descriptor {
	return []*Descriptor{
		{Partition: SystemPartition, Generation: 1, NextReplica: 2, Replicas: []Replica{{ID: 1, Node: 1, Role: RoleVoter}}},
		{
			Partition: 300, Keyspace: 7, Span: Span{Start: MakeKey(7, []byte("a")), End: MakeKey(7, []byte{0xff, 0})},
			Generation: 12, NextReplica: 9,
			Replicas: []Replica{{ID: 2, Node: 1, Role: RoleVoter}, {ID: 5, Node: 3, Role: RoleVoter}, {ID: 8, Node: 1 << 40, Role: RoleLearner}},
		},
	}
}

func TestDescriptorCodec(t *testing.T) {
	for _, want := range sampleDescriptors() {
		b := AppendDescriptor(nil, want)
		got, err := DecodeDescriptor(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if err := got.Validate(); err != nil {
			t.Error(err)
		}
		for n := range len(b) {
			if _, err := DecodeDescriptor(b[:n]); KindOf(err) != Corruption {
				t.Errorf("the first %d of %d bytes: %v, want corruption", n, len(b), err)
			}
		}
		if _, err := DecodeDescriptor(append(b, 0)); KindOf(err) != Corruption {
			t.Errorf("a byte too many: %v, want corruption", err)
		}
	}
}

// The bytes are durable: a change of them needs a new format number.
func TestCodecGolden(t *testing.T) {
	d := AppendDescriptor(nil, sampleDescriptors()[1])
	if want := "\x01\xac\x02\x07\x05\x00\x00\x00\x07a\x06\x00\x00\x00\x07\xff\x00\x0c\x09\x03\x02\x01\x01\x05\x03\x01\x08\x80\x80\x80\x80\x80 \x02"; string(d) != want {
		t.Errorf("descriptor %q, want %q", d, want)
	}
	k := AppendKeyspace(nil, Keyspace{ID: 3, Name: "orders", Scheme: SchemeHash, Partitions: 300, Retention: 10 * time.Minute})
	if want := "\x01\x03\x06orders\x02\xac\x02\x80ॖ\xbb\x11"; string(k) != want {
		t.Errorf("keyspace %q, want %q", k, want)
	}
	n := AppendNodeInfo(nil, NodeInfo{ID: 2, Address: "a:1", Locality: "zone=x", Nonce: 0x0102030405060708, Core: true, Replaced: true})
	if want := "\x01\x02\x03a:1\x06zone=x\x01\x02\x03\x04\x05\x06\x07\x08\x03"; string(n) != want {
		t.Errorf("node %q, want %q", n, want)
	}
}

func TestDescriptorValidate(t *testing.T) {
	ruin := map[string]func(*Descriptor){
		"no partition":      func(d *Descriptor) { d.Partition = 0 },
		"no generation":     func(d *Descriptor) { d.Generation = 0 },
		"empty span":        func(d *Descriptor) { d.Span.End = d.Span.Start },
		"no replicas":       func(d *Descriptor) { d.Replicas = nil },
		"two on one node":   func(d *Descriptor) { d.Replicas[1].Node = d.Replicas[0].Node },
		"disorder":          func(d *Descriptor) { d.Replicas[0].ID = 6 },
		"id above the next": func(d *Descriptor) { d.NextReplica = 8 },
		"role":              func(d *Descriptor) { d.Replicas[0].Role = 3 },
		"no node":           func(d *Descriptor) { d.Replicas[0].Node = 0 },
	}
	for name, f := range ruin {
		d := sampleDescriptors()[1]
		f(d)
		if err := d.Validate(); KindOf(err) != Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestDecoderRefusesLongForms(t *testing.T) {
	d := NewDecoder("number", []byte{0x81, 0x00})
	if d.Uvarint(maxUint64); KindOf(d.Err()) != Corruption {
		t.Errorf("a two-byte 1 was accepted: %v", d.Err())
	}
	d = NewDecoder("bytes", []byte{0xff, 0xff, 0x03, 1, 2})
	if b := d.Bytes(1 << 20); b != nil || KindOf(d.Err()) != Corruption {
		t.Errorf("a length beyond the input was accepted: %v", d.Err())
	}
}

func FuzzDecodeDescriptor(f *testing.F) {
	for _, d := range sampleDescriptors() {
		f.Add(AppendDescriptor(nil, d))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDescriptor(b)
		if err != nil {
			if KindOf(err) != Corruption {
				t.Fatalf("%v is not corruption", err)
			}
			return
		}
		if again := AppendDescriptor(nil, d); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes as %x", b, d, again)
		}
	})
}

func FuzzDecodeKeyspace(f *testing.F) {
	f.Add(AppendKeyspace(nil, Keyspace{ID: 3, Name: "orders", Scheme: SchemeHash, Partitions: 300}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodeKeyspace(b)
		if err == nil && !bytes.Equal(AppendKeyspace(nil, k), b) {
			t.Fatalf("%x is not the encoding of %+v", b, k)
		}
	})
}

func FuzzDecodeNodeInfo(f *testing.F) {
	f.Add(AppendNodeInfo(nil, NodeInfo{ID: 2, Address: "a:1", Locality: "zone=x", Nonce: 5, Core: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeNodeInfo(b)
		if err == nil && !bytes.Equal(AppendNodeInfo(nil, n), b) {
			t.Fatalf("%x is not the encoding of %+v", b, n)
		}
	})
}
