package wire

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/kvd-db/kvd/proto/kvpb"
)

// TestCodecIsGRPCs: what one codec writes the other reads, in any number of pieces.
func TestCodecIsGRPCs(t *testing.T) {
	theirs := encoding.GetCodecV2("proto")
	for _, size := range []int{0, 1, 255, 256, 257, 40 << 10, 1 << 20, 3 << 20} {
		sent := &kvpb.OpBatch{Frames: bytes.Repeat([]byte{7}, size)}
		for _, c := range [][2]encoding.CodecV2{{codec{}, theirs}, {theirs, codec{}}, {codec{}, codec{}}} {
			data, err := c[0].Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			flat := data.Materialize()
			pieces := mem.BufferSlice{mem.SliceBuffer(flat[:len(flat)/3]), mem.SliceBuffer(flat[len(flat)/3:])}
			for _, d := range []mem.BufferSlice{data, pieces} {
				got := &kvpb.OpBatch{}
				if err := c[1].Unmarshal(d, got); err != nil || !bytes.Equal(got.Frames, sent.Frames) {
					t.Errorf("%d bytes became %d, %v", size, len(got.Frames), err)
				}
			}
			data.Free()
		}
	}
	if _, err := (codec{}).Marshal("text"); err == nil {
		t.Error("a string was encoded")
	}
}

func TestPoolGivesTheLengthAskedFor(t *testing.T) {
	var p pool
	for _, n := range []int{0, 1, 256, 257, 4096, 1 << 20, 1<<20 + 1} {
		for range 3 {
			b := p.Get(n)
			if len(*b) != n {
				t.Fatalf("asked for %d bytes, got %d", n, len(*b))
			}
			*b = (*b)[:n/2]
			p.Put(b)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	batch := &kvpb.OpBatch{Frames: make([]byte, 40<<10)}
	for name, c := range map[string]encoding.CodecV2{"grpc": encoding.GetCodecV2("proto"), "kvd": codec{}} {
		b.Run(name, func(b *testing.B) {
			got := &kvpb.OpBatch{}
			for range b.N {
				data, _ := c.Marshal(batch)
				if err := c.Unmarshal(data, got); err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
	}
}
