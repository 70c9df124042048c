// Package door is the one port of a node, on which several protocols are spoken. The first
// bytes of a connection tell them apart:
//
//	                          ┌─ a magic of Plain ─► its function
//	Listener.Accept ─► sniff ─┤
//	                          └─ anything else ─► Accept ─► gRPC, which reads those bytes again
//
// Invariants: a connection that says nothing is closed after a while; of the plain and the undecided ones
// there is a bounded number; Close ends them, and waits for those who serve them.
//
// It knows nothing of what is said.
package door

import (
	"errors"
	"io"
	"maps"
	"net"
	"sync"
	"syscall"
	"time"
)

// MagicBytes is the length of every magic.
const MagicBytes = 4

// Plain are the protocols without gRPC, by the magic that opens their connections.
type Plain map[string]Protocol

// Protocol is one of them.
type Protocol struct {
	Serve    func(net.Conn) // after the magic; the connection is closed when it returns
	ConnsMax int            // further connections are closed at once
}

// undecided is in place of a magic that has not come yet.
const undecided = ""

// Door is, to gRPC, a listener that accepts only what is gRPC's.
type Door struct {
	net.Listener
	plain Plain
	calls chan net.Conn // for gRPC
	end   chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]string // not yet told apart, or plain, by their magic
	count map[string]int      // of these
	shut  bool
	group sync.WaitGroup
	err   error // why accepting ended; valid once calls is closed
}

const (
	// undecidedMax is how many connections may not have said yet what they are; others are closed at once.
	undecidedMax = 4096
	// sniffTimeout is how long a connection may take to say what it is.
	sniffTimeout = 5 * time.Second
)

// Open begins to accept what comes to l, which Close closes. No magic may be one that an HTTP/2 preface or a
// TLS hello begins with.
func Open(l net.Listener, plain Plain) *Door { return open(l, plain, undecidedMax) }

func open(l net.Listener, plain Plain, undecidedMax int) *Door {
	plain = maps.Clone(plain)
	plain[undecided] = Protocol{ConnsMax: undecidedMax}
	d := &Door{Listener: l, plain: plain, calls: make(chan net.Conn), end: make(chan struct{}), conns: map[net.Conn]string{}, count: map[string]int{}}
	d.group.Go(d.run)
	return d
}

func (d *Door) run() {
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
func (d *Door) enter(c net.Conn) {
	if !d.note(c, undecided) {
		_ = c.Close()
		return
	}
	d.group.Go(func() { d.sort(c) })
}

// note counts a connection under a magic; false: there are too many.
func (d *Door) note(c net.Conn, magic string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut || d.count[magic] >= d.plain[magic].ConnsMax {
		return false
	}
	if was, ok := d.conns[c]; ok {
		d.count[was]--
	}
	d.conns[c] = magic
	d.count[magic]++
	return true
}

func (d *Door) sort(c net.Conn) {
	defer d.leave(c)
	var first [MagicBytes]byte
	_ = c.SetReadDeadline(time.Now().Add(sniffTimeout))
	if _, err := io.ReadFull(c, first[:]); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	magic := string(first[:])
	if p, ok := d.plain[magic]; ok {
		defer c.Close()
		if d.note(c, magic) {
			p.Serve(c)
		}
		return
	}
	select {
	case d.calls <- &replayed{Conn: c, first: first[:]}:
	case <-d.end:
		_ = c.Close()
	}
}

func (d *Door) leave(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[d.conns[c]]--
	delete(d.conns, c)
}

// Accept is the next connection that speaks gRPC.
func (d *Door) Accept() (net.Conn, error) {
	c, ok := <-d.calls
	if !ok {
		return nil, d.err
	}
	return c, nil
}

// Close ends the plain connections too, and waits for those who serve them.
func (d *Door) Close() error {
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
