package host

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// door is the one port of a node. Clients, and nodes with a rare question, speak gRPC; the
// messages between nodes come over plain connections, which begin with linkMagic. A read of
// the first bytes tells the two apart.
//
// To gRPC the door is a listener that accepts only what is gRPC's.
type door struct {
	net.Listener
	link  func(net.Conn) // serves a plain connection until it ends
	calls chan net.Conn  // for gRPC
	end   chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{} // not yet told apart, or plain
	shut  bool
	group sync.WaitGroup
	err   error // why accepting ended; valid once calls is closed
}

const (
	// linkMagic opens a plain connection. No HTTP/2 preface and no TLS hello begins so.
	linkMagic = "KVDX"
	// strangersMax is how many connections may be undecided, or between nodes; others are closed at once.
	strangersMax = 4096
	// sniffTimeout is how long a connection may take to say what it is.
	sniffTimeout = 5 * time.Second
)

func openDoor(l net.Listener, link func(net.Conn)) *door {
	d := &door{Listener: l, link: link, calls: make(chan net.Conn), end: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	d.group.Go(d.run)
	return d
}

func (d *door) run() {
	defer close(d.calls)
	const pauseMax = time.Second
	pause := 5 * time.Millisecond
	for {
		c, err := d.Listener.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			d.enter(c)
		case errors.Is(err, net.ErrClosed):
			d.err = err
			return
		default: // no file descriptor is left, or the like: it may pass
			select {
			case <-d.end:
			case <-time.After(pause):
			}
			pause = min(2*pause, pauseMax)
		}
	}
}

// enter takes a connection in, on a goroutine of its own until it is known to be gRPC's.
func (d *door) enter(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut || len(d.conns) >= strangersMax {
		_ = c.Close()
		return
	}
	d.conns[c] = struct{}{}
	d.group.Go(func() { d.sort(c) })
}

func (d *door) sort(c net.Conn) {
	defer d.leave(c)
	var first [len(linkMagic)]byte
	_ = c.SetReadDeadline(time.Now().Add(sniffTimeout))
	if _, err := io.ReadFull(c, first[:]); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if string(first[:]) == linkMagic {
		defer c.Close()
		d.link(c)
		return
	}
	select {
	case d.calls <- &replayed{Conn: c, first: first[:]}:
	case <-d.end:
		_ = c.Close()
	}
}

func (d *door) leave(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// Accept is the next connection that speaks gRPC.
func (d *door) Accept() (net.Conn, error) {
	c, ok := <-d.calls
	if !ok {
		return nil, d.err
	}
	return c, nil
}

// Close ends the plain connections too, and waits for those who serve them.
func (d *door) Close() error {
	err := d.Listener.Close()
	d.mu.Lock()
	if !d.shut {
		d.shut = true
		close(d.end)
	}
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.group.Wait()
	return err
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

// SyscallConn lets gRPC set options of the socket.
func (r *replayed) SyscallConn() (syscall.RawConn, error) {
	c, ok := r.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return c.SyscallConn()
}
