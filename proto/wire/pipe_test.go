package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestPipeCarriesBatches(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	var sent [][]byte
	for _, n := range []int{0, 1, 9, pipeBufferBytes - lengthBytes, pipeBufferBytes, bodyStepBytes, bodyStepBytes + 1, 3*bodyStepBytes + 7} {
		batch := make([]byte, n)
		for i := range batch {
			batch[i] = byte(rng.Uint32())
		}
		sent = append(sent, batch)
	}
	go func() {
		p := NewPipe(b, 0)
		for _, batch := range sent {
			if p.Send(batch) != nil {
				return
			}
		}
		_ = p.Close()
	}()
	p := NewPipe(a, time.Minute)
	for i, want := range sent {
		if got, err := p.Recv(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("batch %d: %d bytes of %d, %v", i, len(got), len(want), err)
		}
	}
	if _, err := p.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestPipeGivesUp: on a silent client, on one that takes nothing, and on a node that never speaks.
func TestPipeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		node, client := NewPipe(a, ReadSilenceMax), NewPipe(b, 0)
		go func() {
			for range 3 {
				time.Sleep(ReadSilenceMax - 2*time.Second)
				_ = client.Send(nil)
			}
		}()
		start := time.Now()
		for range 3 {
			if _, err := node.Recv(); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
		start = time.Now()
		if _, err := node.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > ReadSilenceMax {
			t.Errorf("a silent client is given up after %v: %v", time.Since(start), err)
		}
		start = time.Now()
		if err := node.Send([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != WriteStallMax {
			t.Errorf("a client that takes nothing is given up after %v: %v", time.Since(start), err)
		}
		start = time.Now()
		if err := client.Await(time.Second); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("a node that does not speak is given up after %v: %v", time.Since(start), err)
		}
	})
}

// stringConn is a connection from which a string comes.
type stringConn struct {
	net.Conn
	r io.Reader
}

func (c stringConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func FuzzPipe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0x80, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := NewPipe(stringConn{r: bytes.NewReader(b)}, 0)
		var back []byte
		for {
			batch, err := p.Recv()
			if err != nil {
				if kv.KindOf(err) == kv.Limit != (len(b)-len(back) >= lengthBytes && uint64(b[len(back)])<<24|uint64(b[len(back)+1])<<16|uint64(b[len(back)+2])<<8|uint64(b[len(back)+3]) > MessageBytesMax) {
					t.Fatalf("%v", err)
				}
				break
			}
			n := len(batch)
			back = append(back, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
			back = append(back, batch...)
		}
		if !bytes.HasPrefix(b, back) {
			t.Fatal("other bytes came than were sent")
		}
	})
}
