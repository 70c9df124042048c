package cluster

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// echo is a node that answers every line, in the order in which they come.
func echo(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprint(c, line)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// talk is a connection to a proxy.
type talk struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func newTalk(t *testing.T, n *Network, node int) *talk {
	t.Helper()
	c, err := net.Dial("tcp", n.address(node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &talk{t: t, Conn: c, in: bufio.NewReader(c)}
}

func (x *talk) say(text string) {
	x.t.Helper()
	if _, err := fmt.Fprintln(x, text); err != nil {
		x.t.Fatal(err)
	}
}

func (x *talk) hear(want string) {
	x.t.Helper()
	_ = x.SetReadDeadline(time.Now().Add(Patience))
	if got, err := x.in.ReadString('\n'); err != nil || got != want+"\n" {
		x.t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// silent insists that nothing has come: what another connection has said since has been answered.
func (x *talk) silent(by *talk) {
	x.t.Helper()
	by.say("marker")
	by.hear("marker")
	_ = x.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if got, err := x.in.ReadString('\n'); err == nil {
		x.t.Fatalf("heard %q through a cut", got)
	}
}

// TestNetwork: each way is cut by itself, for whom it is meant, and nothing is lost.
func TestNetwork(t *testing.T) {
	n := newNetwork(t, 3)
	for i := range 3 {
		n.open(i, echo(t))
	}
	link := newTalk(t, n, 2) // node 0's to node 2
	greeting := linkMagic + " " + n.address(0)
	link.say(greeting)
	link.hear(greeting)
	caller := newTalk(t, n, 2)
	caller.say("hello")
	caller.hear("hello")
	for _, w := range []Way{{0, 2}, {2, 0}} {
		n.Cut(w)
		link.say("late")
		link.silent(caller)
		n.Heal(w)
		link.hear("late")
	}
	for _, w := range []Way{{1, 2}, {2, 1}, {0, 1}, {Clients, 2}, {2, Clients}} {
		n.Cut(w)
		link.say("not meant")
		link.hear("not meant")
		n.Heal(w)
	}
	n.Cut(Way{2, Clients})
	caller.say("late")
	caller.silent(link)
	n.Heal(Way{2, Clients})
	caller.hear("late")
	n.Cut(Way{0, 2})
	_ = link.CloseWrite()
	n.Heal(Way{0, 2})
	_ = link.SetReadDeadline(time.Now().Add(Patience))
	if _, err := link.in.ReadByte(); err == nil || err.Error() != "EOF" {
		t.Errorf("after the end: %v", err)
	}
}

func (x *talk) CloseWrite() error { return x.Conn.(*net.TCPConn).CloseWrite() }

// TestNetworkCuts: nodes notice a cut that a client does not.
func TestNetworkCuts(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := NewBehindProxies(t, 3)
	c.Restart(t)
	c.WaitHealthy(t)
	leader := c.BusiestLeader(t)
	var ways []Way
	for _, n := range c.Nodes {
		if n != leader {
			ways = append(ways, Way{From: leader.Index, To: n.Index})
		}
	}
	c.Network.Cut(ways...)
	c.Eventually(t, "others lead in place of a node that nobody hears", func() error {
		all, err := c.Partitions(t)
		for _, p := range all {
			if p.Leader == leader.ID || p.Leader == 0 {
				return fmt.Errorf("partition %d is led by node %d", p.ID, p.Leader)
			}
		}
		return err
	})
	c.MustCLI(t, "put", "k", "v")
	c.Network.Heal(ways...)
	c.WaitHealthy(t)
	c.Check(t)
}
