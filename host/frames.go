package host

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// Over a link travel frames, each [length 4, big-endian][message as node.AppendMessage lays it out].
const frameHeadBytes = 4

// Limits of what travels between nodes, in bytes.
const (
	// chunkBytes is where a batch of messages is closed; one message may be larger.
	chunkBytes = 256 << 10
	// PeerMessageBytesMax is the largest gRPC message: a commit of the largest size in one raft
	// message, with room to spare.
	PeerMessageBytesMax = kv.CommitBytesMax + 32<<20
)

// appendFrame appends one message as a frame.
func appendFrame(b []byte, m *node.Message) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = node.AppendMessage(b, m)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-frameHeadBytes))
	return b
}

// decodeFrames reads all messages of a batch.
func decodeFrames(b []byte) ([]node.Message, error) {
	n, err := countFrames(b)
	if err != nil {
		return nil, err
	}
	messages := make([]node.Message, n)
	for i := range messages {
		size := int(binary.BigEndian.Uint32(b))
		if messages[i], err = node.DecodeMessage(b[frameHeadBytes : frameHeadBytes+size]); err != nil {
			return nil, err
		}
		b = b[frameHeadBytes+size:]
	}
	return messages, nil
}

func countFrames(b []byte) (n int, err error) {
	for len(b) > 0 {
		if len(b) < frameHeadBytes || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-frameHeadBytes) {
			return 0, kv.Errorf(kv.Corruption, "a batch of messages between nodes is cut short in frame %d", n)
		}
		b = b[frameHeadBytes+int(binary.BigEndian.Uint32(b)):]
		n++
	}
	return n, nil
}
