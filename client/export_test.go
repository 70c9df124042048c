package client

import (
	"runtime"
	"testing"
	"time"
)

// Holds is how many timestamps a client has open.
func Holds(c *Client) int { return c.router.Holds() }

// CollectUntil runs the garbage collector until it is done.
func CollectUntil(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatal("the garbage collector has not found it")
		}
	}
}

// SettledMax is how many outcomes a client remembers.
const SettledMax = settledMax
