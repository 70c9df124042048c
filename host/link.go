package host

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// link is one end of a plain connection between two nodes, which carries messages one way:
//
//	sender    [linkMagic] frame(handshake)                frames ...
//	receiver              frame(verdict, handshake or why)          pulse, at most one a second
//
// A frame is [length 4, big-endian][bytes]. A pulse is a byte: the sender learns from it that
// the receiver lives and reads, so that a connection to a machine that has vanished ends.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	pulseAt time.Time // when the next pulse is due
}

// linkMagic opens a link.
const linkMagic = "KVDX"

// linksMax is how many links there may be.
const linksMax = 4096

// What the first byte of a receiver's answer says.
const (
	verdictWelcome byte = 0 // its handshake follows
	verdictLater   byte = 1 // a sentence follows: it may go away by itself
	verdictRefused byte = 2 // a sentence follows: only an operator can help
)

const (
	linkBufferBytes   = 256 << 10
	handshakeBytesMax = 64 << 10
	pulseEvery        = time.Second
	// linkSilenceMax ends a link over which nothing comes: heartbeats alone are ten a second.
	linkSilenceMax = 5 * time.Second
)

func newLink(c net.Conn) *link {
	return &link{conn: c, in: bufio.NewReaderSize(c, linkBufferBytes)}
}

// handshake reads the first frame.
func (l *link) handshake() ([]byte, error) {
	_ = l.conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	return l.frame(handshakeBytesMax)
}

// frame reads one frame of bounded size.
func (l *link) frame(bytesMax int) ([]byte, error) {
	var head [frameHeadBytes]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if uint64(n) > uint64(bytesMax) {
		return nil, kv.Errorf(kv.Corruption, "a frame between nodes claims %d bytes, the limit is %d", n, bytesMax)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(l.in, b)
	return b, err
}

// read waits for frames and returns all that have come whole, heads included, in one piece of
// memory of just their size.
func (l *link) read() ([]byte, error) {
	head, err := l.in.Peek(frameHeadBytes)
	if err != nil {
		return nil, err
	}
	total := frameHeadBytes + int(binary.BigEndian.Uint32(head))
	if total > PeerMessageBytesMax {
		return nil, kv.Errorf(kv.Corruption, "a frame between nodes claims %d bytes, the limit is %d", total, PeerMessageBytesMax)
	}
	if come := l.in.Buffered(); total <= come {
		b, _ := l.in.Peek(come)
		total = wholeFrames(b)
	}
	frames := make([]byte, total)
	_, err = io.ReadFull(l.in, frames)
	return frames, err
}

// wholeFrames is how many bytes of b are frames that are there whole.
func wholeFrames(b []byte) (n int) {
	for len(b)-n >= frameHeadBytes {
		size := frameHeadBytes + int(binary.BigEndian.Uint32(b[n:]))
		if size > len(b)-n {
			break
		}
		n += size
	}
	return n
}

// pulse tells the sender, now and then, that what it sends is read.
func (l *link) pulse(now time.Time) error {
	if now.Before(l.pulseAt) {
		return nil
	}
	l.pulseAt = now.Add(pulseEvery)
	_ = l.conn.SetDeadline(now.Add(linkSilenceMax))
	_, err := l.conn.Write([]byte{1})
	return err
}

// welcome ends the handshake at the receiver.
func (l *link) welcome(self *handshake) error {
	return l.answer(self.append([]byte{verdictWelcome}))
}

// refuse tells the sender why it is not heard, and returns that.
func (l *link) refuse(why error) error {
	verdict := verdictRefused
	if k := kv.KindOf(why); k == kv.NotFound || k == kv.Unavailable {
		verdict = verdictLater
	}
	_ = l.answer(append([]byte{verdict}, kv.AsError(why).Message...))
	return why
}

func (l *link) answer(b []byte) error {
	_ = l.conn.SetDeadline(time.Now().Add(linkSilenceMax))
	_, err := l.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// refusedError is a receiver's refusal.
type refusedError struct {
	why     string
	forGood bool // until an operator has done something
}

func (e *refusedError) Error() string { return e.why }

// greet opens a link at the sender, and returns the receiver's handshake.
func (l *link) greet(h *handshake) (handshake, error) {
	_ = l.conn.SetDeadline(time.Now().Add(handshakeTimeout))
	raw := h.append(nil)
	b := binary.BigEndian.AppendUint32([]byte(linkMagic), uint32(len(raw)))
	if _, err := l.conn.Write(append(b, raw...)); err != nil {
		return handshake{}, err
	}
	answer, err := l.frame(handshakeBytesMax)
	switch {
	case err != nil:
		return handshake{}, err
	case len(answer) == 0:
		return handshake{}, errors.New("the answer to the handshake is empty")
	case answer[0] != verdictWelcome:
		return handshake{}, &refusedError{why: string(answer[1:]), forGood: answer[0] == verdictRefused}
	}
	_ = l.conn.SetDeadline(time.Time{})
	return decodeHandshake(answer[1:])
}

// watch reads pulses until the link ends or nothing comes for too long.
func (l *link) watch() error {
	var b [64]byte
	for {
		_ = l.conn.SetReadDeadline(time.Now().Add(linkSilenceMax))
		if _, err := l.in.Read(b[:]); err != nil {
			return err
		}
	}
}
