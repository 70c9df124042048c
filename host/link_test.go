package host

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// pipe is a connection over the loopback interface.
func pipe(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestLinkReadsWholeFrames(t *testing.T) {
	a, b := pipe(t)
	var sent []byte
	for _, m := range sampleMessages() {
		sent = appendFrame(sent, &m)
	}
	go func() { // a byte at a time, then all at once, then something larger than the buffer
		for i := range sent {
			_, _ = a.Write(sent[i : i+1])
		}
		_, _ = a.Write(append(bytes.Clone(sent), sent...))
		_, _ = a.Write(append([]byte{0, 0x10, 0, 0}, make([]byte, 1<<20)...))
		_ = a.Close()
	}()
	l, got := newLink(b), []byte(nil)
	for len(got) < 3*len(sent) {
		frames, err := l.read()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := countFrames(frames); err != nil {
			t.Fatalf("%x is cut: %v", frames, err)
		}
		got = append(got, frames...)
	}
	if !bytes.Equal(got, bytes.Repeat(sent, 3)) {
		t.Errorf("got %x", got)
	}
	if large, err := l.read(); err != nil || len(large) != frameHeadBytes+1<<20 {
		t.Errorf("a large frame came with %d bytes: %v", len(large), err)
	}
	if _, err := l.read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestLinkRefusesHugeFrames(t *testing.T) {
	a, b := pipe(t)
	_, _ = a.Write([]byte{0xff, 0xff, 0xff, 0xff})
	if _, err := newLink(b).read(); kv.KindOf(err) != kv.Corruption {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	_, _ = b.Write([]byte{0xff, 0xff, 0xff, 0xff})
	if _, err := newLink(a).frame(handshakeBytesMax); kv.KindOf(err) != kv.Corruption {
		t.Errorf("a handshake of 4 GiB: %v", err)
	}
}

func TestLinkHandshake(t *testing.T) {
	self := handshake{Protocol: PeerProtocol, Cluster: 7, Node: 1, Support: time.Second, StoreFormat: StoreFormat, Address: "127.0.0.1:2"}
	got := make(chan node.Message, len(sampleMessages()))
	r := newReceiver(self, func(_ kv.NodeID, ms []node.Message, _ int) bool {
		for _, m := range ms {
			got <- m
		}
		return true
	}, func(kv.NodeID, string) {})
	serve := func(b net.Conn) {
		_, _ = io.ReadFull(b, make([]byte, len(linkMagic)))
		_ = r.serve(b)
	}
	a, b := pipe(t)
	go serve(b)
	h, l := sampleHandshake(), newLink(a)
	if back, err := l.greet(&h); err != nil || back.Node != 1 || back.To != h.Node {
		t.Fatalf("greeted by %+v, %v", back, err)
	}
	for _, m := range sampleMessages() {
		_, _ = a.Write(appendFrame(nil, &m))
		<-got
	}
	if _, err := l.in.ReadByte(); err != nil {
		t.Errorf("no pulse came: %v", err)
	}
	a, b = pipe(t)
	go serve(b)
	h.Cluster++
	_, err := newLink(a).greet(&h)
	if r, ok := err.(*refusedError); !ok || !r.forGood {
		t.Errorf("a node of another cluster got %v", err)
	}
}

func FuzzWholeFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := wholeFrames(b)
		if _, err := countFrames(b[:n]); n > len(b) || err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	})
}
