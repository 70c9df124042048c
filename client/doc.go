// Package client is kvd's Go API.
//
//	c, err := client.Open(ctx, "h1:7400,h2:7400,h3:7400")
//	_, err = c.Put(ctx, []byte("k"), []byte("v"))
//	p, err := c.Get(ctx, []byte("k"))
//	for p, err := range c.Scan(ctx, client.Prefix([]byte("a/"))) { ... }
//	_, err = c.Update(ctx, func(ctx context.Context, tx *client.Tx) error { ... })
//	err = c.View(ctx, func(ctx context.Context, s *client.Snapshot) error { ... })
//
// A transaction in this process:
//
//	Get, Scan ──► overlay (a btree of its own writes) ──► what was read before ──► view ──► the nodes
//	Put, Add, Delete ──► overlay                                    │    (one timestamp, which the
//	                        │                                       ▼     first read has drawn)
//	Commit ──► plan: writes ┴ keys and ranges read, the anchor ahead, a written key whose leader draws
//	           for free ──► session parts it by partition ──► the leader of the anchor's partition
//	Update ──► again, from the first read, with the same age, if that was overtaken
//
// Layers, outermost first:
//
//	client           the API: user keys, options, typed errors
//	client/router    the world: connections, batching, deadlines, scans over partitions
//	client/session   the decisions: where to, again or not, under which name (pure)
//
// Promises:
//   - Every call ends: at its context's end, or after 10 seconds if that has no deadline.
//   - A transaction's reads are one state, and its writes happen at one time and once, or not at
//     all, over any keys of any partitions and keyspaces. Update ends at its context's end only,
//     or after WithMaxAttempts.
//   - Each single write is one transaction and is executed once at most, whatever is lost on the
//     way. If the outcome cannot be had in time, the error is an *AmbiguousError, whose ID
//     and Token ask for the outcome later.
//   - What a Snapshot, a View, a transaction or a scan reads is kept while it is open, for a day at most.
//   - Keys and values that come back belong to the caller.
//   - One Client serves any number of goroutines. Close leaves none behind.
//
// The package decides nothing about where keys live or when a request is sent again; see the
// layers below. It decides when a transaction runs again.
package client
