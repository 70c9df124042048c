package wire

import (
	"fmt"
	"math/bits"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// ClientOptions and ServerOptions make gRPC use buffers of this package's pool. gRPC's own has
// none between 32 KiB and 1 MiB and wipes each before use: for a batch of 40 KiB that is 1 MiB
// of zeros.
func ClientOptions() []grpc.DialOption {
	return []grpc.DialOption{experimental.WithBufferPool(&buffers), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}))}
}

// ServerOptions is ClientOptions for the other end.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{experimental.BufferPool(&buffers), grpc.ForceServerCodecV2(codec{})}
}

// codec is gRPC's codec for protocol buffers, over our own pool.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of gRPC's own: on the wire they are the same.
func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("a message of type %T is no protocol buffer", v)
	}
	b := buffers.Get(proto.Size(m))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*b)[:0], m)
	if err != nil {
		buffers.Put(b)
		return nil, err
	}
	*b = out
	return mem.BufferSlice{mem.NewBuffer(b, &buffers)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("a message of type %T is no protocol buffer", v)
	}
	b := data.MaterializeToBuffer(&buffers)
	defer b.Free()
	return proto.Unmarshal(b.ReadOnlyData(), m)
}

// pool keeps buffers by size, a sync.Pool for each power of two. What it gives is not wiped.
type pool struct {
	bySize [poolBitsMax + 1]sync.Pool
}

const (
	poolBitsMin = 8  // smaller buffers are not worth it
	poolBitsMax = 20 // larger ones are too dear to keep
)

var buffers pool

// Get returns a buffer of the length; what is in it is anybody's guess.
func (p *pool) Get(length int) *[]byte {
	n := bits.Len(uint(max(length, 1) - 1))
	if n > poolBitsMax {
		b := make([]byte, length)
		return &b
	}
	n = max(n, poolBitsMin)
	if b, ok := p.bySize[n].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<n)
	return &b
}

// Put takes a buffer back.
func (p *pool) Put(b *[]byte) {
	n := bits.Len(uint(cap(*b))) - 1 // its capacity is at least 1<<n
	if n >= poolBitsMin && n <= poolBitsMax {
		p.bySize[n].Put(b)
	}
}
