// Package arch holds the house in its form: which package may import which, what the cores
// may not do, and how large things may grow. The table is the design; a new edge is a
// reviewed change of this file.
package arch

// floors is the table of allowed imports inside the module. Imports go down only.
var floors = []struct {
	floor   int
	pkg     string
	imports []string
	core    bool // deterministic: no goroutine, clock, ambient randomness, lock
}{
	{0, "kv", nil, true},
	{0, "invariant", nil, true},
	{0, "proto", nil, false},
	{0, "proto/kvpb", nil, false},
	{0, "proto/peerpb", nil, false},
	{0, "proto/wire", []string{"kv", "proto/kvpb"}, false},
	{1, "wal", []string{"kv", "invariant"}, false},
	{1, "mvcc", []string{"kv", "invariant"}, false},
	{2, "replication", []string{"kv", "invariant", "wal"}, true},
	{2, "txn", []string{"kv", "invariant"}, true},
	{2, "placement", []string{"kv", "invariant"}, true},
	{2, "core", []string{"kv", "invariant", "placement"}, true},
	{3, "client/session", []string{"kv", "placement"}, true},
	{3, "partition", []string{"kv", "invariant", "mvcc", "txn"}, true},
	{4, "node", []string{"kv", "proto/wire", "invariant", "wal", "mvcc", "replication", "core", "placement", "partition", "txn"}, true},
	{4, "host/door", nil, false},
	{5, "host", []string{"host/door", "kv", "invariant", "proto", "proto/peerpb", "proto/wire", "wal", "mvcc", "replication", "core", "partition", "node"}, false},
	{5, "sim", []string{"kv", "invariant", "wal", "mvcc", "replication", "core", "placement", "partition", "txn", "node", "client/session", "sim/check"}, false},
	{5, "sim/check", []string{"kv", "invariant"}, false},
	{6, "client/router", []string{"kv", "invariant", "proto/kvpb", "proto/wire", "client/session"}, false},
	{6, "client", []string{"kv", "proto/kvpb", "proto/wire", "client/session", "client/router"}, false},
	{6, "server", []string{"host/door", "kv", "proto/kvpb", "proto/peerpb", "proto/wire", "client/session", "client/router"}, false},
	{7, "client/kvtest", []string{"client", "host", "host/door", "kv", "proto/kvpb", "proto/wire", "server"}, false},
	{7, "bench", []string{"kv", "client", "bench/ycsb", "sim/check"}, false},
	{7, "bench/ycsb", nil, false},
	// Everything below cmd and test is on floor 7 and may import what it assembles.
}

// Size ratchets: they may only shrink.
const (
	fileLinesMax     = 800 // no file over it
	fileLinesGood    = 500 // files above it are counted, see largeFilesMax
	largeFilesMax    = 0
	functionLinesMax = 80
	structFieldsMax  = 12 // in cores
)
