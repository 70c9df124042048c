package kvtest

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// front is the fixed address of a node: it passes connections on to wherever the node listens now.
type front struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	target string // "": nobody is there
	cut    bool
	mute   map[string]bool     // addresses to which nothing goes
	conns  map[net.Conn]string // in and out, with the address that was dialed; all are closed by a cut
}

func newFront() (*front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{listener: l, mute: map[string]bool{}, conns: map[net.Conn]string{}}
	f.running.Go(f.accept)
	return f, nil
}

func (f *front) address() string { return f.listener.Addr().String() }

func (f *front) accept() {
	for {
		in, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.running.Go(func() { f.pass(in) })
	}
}

// pass joins a connection with one to the node, until either ends.
func (f *front) pass(in net.Conn) {
	defer in.Close()
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	if target == "" || !f.hold(in, "") {
		return
	}
	defer f.drop(in)
	out, err := net.Dial("tcp", target)
	if err != nil || !f.hold(out, "") {
		return
	}
	defer f.drop(out)
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(in, out) // ends with either connection
		_ = in.Close()
	}()
	_, _ = io.Copy(out, in)
	_ = out.Close()
	<-back
}

// hold takes note of a connection, to another node if that has an address; false if the node is cut off.
func (f *front) hold(c net.Conn, to string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut || f.mute[to] {
		_ = c.Close()
		return false
	}
	f.conns[c] = to
	return true
}

func (f *front) drop(c net.Conn) {
	_ = c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// dial is the node's own way to others.
func (f *front) dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if !f.hold(c, address) {
		return nil, kv.Errorf(kv.Unavailable, "the node is cut off")
	}
	return &held{Conn: c, front: f}, nil
}

// held is a connection that is forgotten when it is closed.
type held struct {
	net.Conn
	front *front
}

// Close closes the connection.
func (h *held) Close() error {
	h.front.drop(h.Conn)
	return nil
}

// lead sends new connections to an address; "" closes them.
func (f *front) lead(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

// setCut cuts the node off from everybody, or joins it again.
func (f *front) setCut(cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
	if cut {
		for c := range f.conns {
			_ = c.Close()
		}
	}
}

// setMute ends what the node says to an address, or begins it again.
func (f *front) setMute(to string, mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute[to] = mute
	for c, address := range f.conns {
		if mute && address == to {
			_ = c.Close()
		}
	}
}

func (f *front) close() {
	_ = f.listener.Close()
	f.setCut(true)
	f.running.Wait()
}
