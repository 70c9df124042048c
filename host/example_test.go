package host_test

import (
	"context"
	"fmt"
	"os"

	"github.com/kvd-db/kvd/host"
)

// A node that is a cluster of its own.
func Example() {
	dir, err := os.MkdirTemp("", "kvd")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	h, err := host.Open(host.Options{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		panic(err)
	}
	defer h.Close()
	if err := h.Start(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("node", h.Info().ID, "of a cluster of one serves")
	// Output: node 1 of a cluster of one serves
}
