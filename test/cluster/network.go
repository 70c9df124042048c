package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Clients stands for all who are no node in a Way: clients, and nodes that make a single call, such
// as to an administrator's door or to copy a replica.
const Clients = -1

// Way is a direction on the network, between nodes named by their index.
type Way struct{ From, To int }

// Network is what lies between the nodes of a cluster, and between them and their clients: each
// node has a proxy, whose address is the only one that others know.
//
//	node 0 ──┐                          ┌── link of node 0:  0→2 forward, 2→0 back
//	node 1 ──┼──► proxy of node 2 ──────┼── link of node 1:  1→2 forward, 2→1 back
//	client ──┘                          └── call:            Clients→2,   2→Clients
//
// A way that is cut passes nothing, not even that a connection has ended, until it is healed; what was
// sent in the meantime comes late. New connections are taken, and stall.
type Network struct {
	proxies []*net.TCPListener
	group   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	cut     map[Way]bool
	changed chan struct{} // closed at the next change of what is cut
	conns   map[*net.TCPConn]bool
}

// newNetwork makes a proxy for each node; they pass nothing before open.
func newNetwork(t testing.TB, nodes int) *Network {
	t.Helper()
	n := &Network{cut: map[Way]bool{}, changed: make(chan struct{}), conns: map[*net.TCPConn]bool{}}
	t.Cleanup(n.close)
	for range nodes {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		n.proxies = append(n.proxies, l)
	}
	return n
}

// address is that of a node's proxy.
func (n *Network) address(node int) string { return n.proxies[node].Addr().String() }

// open has a node's proxy pass connections on to where the node listens.
func (n *Network) open(node int, target string) {
	n.group.Go(func() {
		for {
			in, err := n.proxies[node].AcceptTCP()
			if err != nil {
				return // closed
			}
			n.group.Go(func() { n.serve(node, target, in) })
		}
	})
}

// Cut stops what is sent these ways.
func (n *Network) Cut(ways ...Way) { n.set(true, ways) }

// Heal lets pass what is sent these ways.
func (n *Network) Heal(ways ...Way) { n.set(false, ways) }

func (n *Network) set(cut bool, ways []Way) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range ways {
		n.cut[w] = cut
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// await waits until a way is open; false once the network is closed.
func (n *Network) await(w Way) bool {
	for {
		n.mu.Lock()
		cut, closed, changed := n.cut[w], n.closed, n.changed
		n.mu.Unlock()
		if closed || !cut {
			return !closed
		}
		<-changed
	}
}

func (n *Network) close() {
	for _, l := range n.proxies {
		_ = l.Close()
	}
	n.mu.Lock()
	n.closed = true
	for c := range n.conns {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.set(false, nil)
	n.group.Wait()
}

// hold notes a connection, so that close ends it.
func (n *Network) hold(c *net.TCPConn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = c.Close()
		return false
	}
	n.conns[c] = true
	return true
}

func (n *Network) drop(c *net.TCPConn) {
	_ = c.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// serve joins a connection to a node's proxy with one to the node, until both directions have ended.
func (n *Network) serve(node int, target string, in *net.TCPConn) {
	if !n.hold(in) {
		return
	}
	defer n.drop(in)
	first, from, err := n.identify(in)
	if err != nil {
		return
	}
	dialed, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	out := dialed.(*net.TCPConn)
	if !n.hold(out) {
		return
	}
	defer n.drop(out)
	back := make(chan struct{})
	go func() {
		defer close(back)
		n.pass(Way{node, from}, in, out, nil)
	}()
	n.pass(Way{from, node}, out, in, first)
	<-back
}

// linkMagic opens a link between nodes, whose first frame holds the address of the node that sends
// (package host). A link carries messages one way, from who opened it.
const linkMagic = "KVDX"

// identify finds out who has opened a connection, and returns what it has read for that.
func (n *Network) identify(in io.Reader) (first []byte, from int, err error) {
	const greetingMax = 4096
	b := make([]byte, greetingMax)
	for size := 0; size < len(b); {
		got, err := in.Read(b[size:])
		size += got
		first = b[:size]
		if !bytes.HasPrefix(first, []byte(linkMagic)[:min(size, len(linkMagic))]) {
			return first, Clients, nil
		}
		for i := range n.proxies {
			if bytes.Contains(first, []byte(n.address(i))) {
				return first, i, nil
			}
		}
		if err != nil {
			return first, Clients, err
		}
	}
	return nil, Clients, errors.New("a link between nodes names no node")
}

// pass copies one direction of a connection. When the source ends, the destination is told so.
func (n *Network) pass(w Way, to, from *net.TCPConn, first []byte) {
	const chunkBytes = 32 << 10
	b := append(make([]byte, 0, chunkBytes), first...)
	for err := error(nil); ; {
		if !n.await(w) {
			return
		}
		if _, failed := to.Write(b); failed != nil {
			_ = from.CloseRead()
			return
		}
		if err != nil {
			_ = to.CloseWrite()
			return
		}
		var size int
		size, err = from.Read(b[:chunkBytes])
		b = b[:size]
	}
}
