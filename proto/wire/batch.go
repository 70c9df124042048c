package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Version is the first byte of every batch: the version of the frames' layout.
const Version = 1

// Lengths in bytes.
const (
	// HeadBytes is what AppendHead adds.
	HeadBytes = 9
	// BatchBytes is the length from which a sender begins a new batch. One frame may make
	// a batch longer.
	BatchBytes = 1 << 20
	// MessageBytesMax is the longest gRPC message: the largest commit, alone in its batch.
	// Beside keys and values a write takes up to 64 bytes.
	MessageBytesMax = kv.CommitBytesMax + 64*kv.CommitKeysMax + 1<<20
	lengthBytes     = 4
	frameBytesMin   = 2 // type and a short id
)

// TimeoutMax is the longest timeout that a request frame can hold; longer ones are cut.
const TimeoutMax = math.MaxUint32 * time.Millisecond

// FrameType says what a frame holds.
type FrameType uint8

// The types of frames.
const (
	FrameRequest  FrameType = 1 // client to node
	FrameCancel   FrameType = 2 // client to node: nobody waits for the request of this id any more
	FrameResponse FrameType = 3 // node to client
	FrameError    FrameType = 4 // node to client
	FrameTogether FrameType = 5 // client to node: a request; its answer may wait for that of the next one in the batch
)

// Frame is one frame of a batch, still encoded. Body aliases the batch.
type Frame struct {
	Type FrameType
	ID   uint64 // drawn by the client; names one request of one stream
	Body []byte
}

// AppendHead begins a batch; heard is the newest timestamp that the sender has heard of.
func AppendHead(b []byte, heard kv.Timestamp) []byte {
	return appendTimestamp(append(b, Version), heard)
}

// SetHeard changes the timestamp of a batch that AppendHead began.
func SetHeard(batch []byte, heard kv.Timestamp) {
	binary.BigEndian.PutUint64(batch[1:], uint64(heard))
}

// Batch walks over the frames of a batch.
type Batch struct {
	Heard kv.Timestamp
	rest  []byte
	err   *kv.Error
}

// OpenBatch reads the head of a batch.
func OpenBatch(b []byte) (Batch, *kv.Error) {
	r := reader{b: b}
	if v := r.u8(); v != Version {
		return Batch{}, invalid("a batch of version %d: this side speaks version %d", v, Version)
	}
	heard := r.timestamp()
	if r.bad {
		return Batch{}, invalid("a batch of %d bytes: its head alone takes %d", len(b), HeadBytes)
	}
	return Batch{Heard: heard, rest: r.b}, nil
}

// Next takes the next frame; false at the end, or at a frame that is damaged: see Err.
func (b *Batch) Next() (Frame, bool) {
	if len(b.rest) == 0 || b.err != nil {
		return Frame{}, false
	}
	if len(b.rest) < lengthBytes {
		return b.broken("a batch ends inside the length of a frame")
	}
	n := binary.BigEndian.Uint32(b.rest)
	body := b.rest[lengthBytes:]
	if uint64(n) > uint64(len(body)) || n < frameBytesMin {
		return b.broken("a frame says that it has %d bytes where %d are left", n, len(body))
	}
	b.rest = body[n:]
	r := reader{b: body[:n:n]}
	f := Frame{Type: FrameType(r.u8()), ID: r.uvarint()}
	if r.bad {
		return b.broken("a frame ends inside its id")
	}
	f.Body = r.b
	return f, true
}

func (b *Batch) broken(format string, args ...any) (Frame, bool) {
	b.err = invalid(format, args...)
	return Frame{}, false
}

// Err is why Next stopped before the end; nil if it did not.
func (b *Batch) Err() *kv.Error { return b.err }

func invalid(format string, args ...any) *kv.Error {
	return kv.Errorf(kv.Invalid, "wire: %s", fmt.Sprintf(format, args...))
}

// beginFrame leaves room for the length, which endFrame fills in.
func beginFrame(b []byte, t FrameType, id uint64) []byte {
	b = append(b, 0, 0, 0, 0, byte(t))
	return binary.AppendUvarint(b, id)
}

func endFrame(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-lengthBytes))
	return b
}

// AppendCancel adds a frame that takes back the request of an id.
func AppendCancel(b []byte, id uint64) []byte {
	return endFrame(beginFrame(b, FrameCancel, id), len(b))
}

// Withdraw makes a request frame at the front of b, which was not sent yet, ask for
// nothing: a cancel of its own id. What a cancel frame holds behind its id is ignored.
func Withdraw(b []byte) { b[lengthBytes] = byte(FrameCancel) }

// Together lets the answer of the request frame at the front of b, which was not sent yet, wait for
// that of the request which follows it in the batch.
func Together(b []byte) { b[lengthBytes] = byte(FrameTogether) }
