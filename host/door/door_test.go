package door

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

func TestDoorTellsConnectionsApart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const magic = "MINE"
	links := make(chan string, 1)
	d := Open(l, Plain{magic: {ConnsMax: 1, Serve: func(c net.Conn) {
		b := make([]byte, 4)
		_, _ = io.ReadFull(c, b)
		links <- string(b)
	}}})
	var calls sync.WaitGroup
	calls.Go(func() {
		for {
			c, err := d.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	})
	dial := func(says string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(says))
		return c
	}
	defer dial("K").Close() // says no more: it must not keep the door from closing
	defer dial(magic + "link").Close()
	if got := <-links; got != "link" {
		t.Errorf("the link read %q", got)
	}
	c := dial("PRI * HTTP/2.0")
	_ = c.(*net.TCPConn).CloseWrite()
	if echo, err := io.ReadAll(c); err != nil || string(echo) != "PRI * HTTP/2.0" {
		t.Errorf("gRPC read %q, %v", echo, err)
	}
	_ = d.Close()
	calls.Wait()
	if _, err := d.Accept(); err == nil {
		t.Error("a closed door lets in")
	}
}

// TestDoorBounds: it closes what is above its bounds, and takes others in when some have gone.
func TestDoorBounds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const magic = "MINE"
	served, leave := make(chan struct{}, 4), make(chan struct{})
	d := open(l, Plain{magic: {ConnsMax: 1, Serve: func(net.Conn) {
		served <- struct{}{}
		<-leave
	}}}, 1)
	defer d.Close()
	dial := func(says string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(says))
		return c
	}
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := c.Read(make([]byte, 1))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	defer dial(magic).Close()
	<-served
	if c := dial(magic); !closed(c) {
		t.Error("a second plain connection was let in")
	}
	first, second := dial("M"), dial("M")
	if !closed(second) {
		t.Error("a second undecided connection was let in")
	}
	_ = first.Close()
	close(leave)
	for range 1000 {
		c := dial(magic)
		select {
		case <-served:
			_ = c.Close()
			return
		case <-time.After(10 * time.Millisecond):
			_ = c.Close()
		}
	}
	t.Error("nobody is let in after others have gone")
}
