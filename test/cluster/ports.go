package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports lie below those that operating systems give to outgoing connections (from 32768 on
// Linux, from 49152 on others). A node's port is free while the node is down, and must not
// have gone to a connection when it comes back.
const (
	portFirst = 20_000
	portLast  = 32_000
)

// FreeAddresses are n addresses on the loopback interface on which nobody listens.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	const triesMax = 1000
	var out []string
	for range triesMax {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portFirst+rand.IntN(portLast-portFirst)))
		if err != nil {
			continue
		}
		defer l.Close() // only when all are found: none is found twice
		if out = append(out, l.Addr().String()); len(out) == n {
			return out
		}
	}
	t.Fatalf("only %d free ports found after %d tries, of %d", len(out), triesMax, n)
	return nil
}
