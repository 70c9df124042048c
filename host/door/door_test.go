package door

import (
	"io"
	"net"
	"sync"
	"testing"
)

func TestDoorTellsConnectionsApart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const magic = "MINE"
	links := make(chan string, 1)
	d := Open(l, Plain{magic: func(c net.Conn) {
		b := make([]byte, 4)
		_, _ = io.ReadFull(c, b)
		links <- string(b)
	}})
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
