// Package client is kvd's Go API.
//
//	c, err := client.Open(ctx, "h1:7400,h2:7400,h3:7400")
//	_, err = c.Put(ctx, []byte("k"), []byte("v"))
//	p, err := c.Get(ctx, []byte("k"))
//	for p, err := range c.Scan(ctx, client.Prefix([]byte("a/"))) { ... }
//
// Layers, outermost first:
//
//	client           the API: user keys, options, typed errors
//	client/router    the world: connections, batching, deadlines, scans over partitions
//	client/session   the decisions: where to, again or not, under which name (pure)
//
// Promises:
//   - Every call ends: at its context's end, or after 10 seconds if that has no deadline.
//   - Each write is one transaction and is executed once at most, whatever is lost on the
//     way. If the outcome cannot be had in time, the error is an *AmbiguousError, whose ID
//     and Token ask for the outcome later.
//   - Keys and values that come back belong to the caller.
//   - One Client serves any number of goroutines. Close leaves none behind.
//
// The package decides nothing about where keys live or when to retry; see the layers below.
package client
