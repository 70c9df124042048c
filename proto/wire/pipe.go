package wire

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// PipeMagic opens a connection that carries batches without gRPC around them: docs/adr/0010.
const PipeMagic = "KVDC"

// Times of a pipe.
const (
	// PulseEvery is after how long a client that has nothing to say sends an empty batch.
	PulseEvery = 5 * time.Second
	// ReadSilenceMax is after how long without any batch a node closes a pipe.
	ReadSilenceMax = 4 * PulseEvery
	// WriteStallMax is how long the other side may take nothing of what is sent to it.
	WriteStallMax = 30 * time.Second
)

// pipeBufferBytes is what is read at once; larger batches go to their own memory directly.
const pipeBufferBytes = 32 << 10

// Pipe is one end of a connection on which batches follow each other, each as
// [length 4, big-endian][batch]. One goroutine may send, another one receive.
type Pipe struct {
	conn    net.Conn
	in      *bufio.Reader
	silence time.Duration // 0 = the other side may be silent for ever
	renewed time.Time     // when the deadline of reads was set
	head    [lengthBytes]byte
	out     [2][]byte
}

// NewPipe is an end of conn, from whose beginning PipeMagic has been read or written. Without
// any batch for silenceMax (0 = for ever) Recv fails.
func NewPipe(conn net.Conn, silenceMax time.Duration) *Pipe {
	return &Pipe{conn: conn, in: bufio.NewReaderSize(conn, pipeBufferBytes), silence: silenceMax}
}

// Await waits until the other side has said something, which a node does at once.
func (p *Pipe) Await(longest time.Duration) error {
	if err := p.conn.SetReadDeadline(time.Now().Add(longest)); err != nil {
		return err
	}
	if _, err := p.in.Peek(1); err != nil {
		return err
	}
	return p.conn.SetReadDeadline(time.Time{})
}

// Send sends a batch. Its memory is the caller's again afterwards.
func (p *Pipe) Send(batch []byte) error {
	binary.BigEndian.PutUint32(p.head[:], uint32(len(batch)))
	p.out = [2][]byte{p.head[:], batch}
	buffers := net.Buffers(p.out[:])
	if err := p.conn.SetWriteDeadline(time.Now().Add(WriteStallMax)); err != nil {
		return err
	}
	_, err := buffers.WriteTo(p.conn)
	return err
}

// Recv waits for a batch, in memory of its own. At the end of the connection it is io.EOF.
func (p *Pipe) Recv() ([]byte, error) {
	if err := p.renew(); err != nil {
		return nil, err
	}
	head, err := p.in.Peek(lengthBytes)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n > MessageBytesMax {
		return nil, kv.LimitError("bytes of one batch", MessageBytesMax, int64(n), "send smaller ones")
	}
	_, _ = p.in.Discard(lengthBytes) // they are there
	return p.body(int(n))
}

// bodyStepBytes is how much memory a length is believed for before that much has come.
const bodyStepBytes = 4 << 20

func (p *Pipe) body(n int) ([]byte, error) {
	b := make([]byte, min(n, bodyStepBytes))
	at := 0
	for {
		if _, err := io.ReadFull(p.in, b[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(b) == n {
			return b, nil
		}
		if err := p.renew(); err != nil {
			return nil, err
		}
		at = len(b)
		b = append(b, make([]byte, min(n-at, at))...)
	}
}

// renew moves the deadline of reads, at most once a second: that is a call into the runtime's timers.
func (p *Pipe) renew() error {
	if p.silence == 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(p.renewed) < time.Second {
		return nil
	}
	p.renewed = now
	return p.conn.SetReadDeadline(now.Add(p.silence))
}

// Close ends the connection, and with it what waits in Send and Recv.
func (p *Pipe) Close() error { return p.conn.Close() }
