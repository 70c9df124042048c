package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/kv"
)

// config is everything that `kvd start` is told.
type config struct {
	host        host.Options
	logFormat   string
	logLevel    string
	dev         bool
	gcPercent   int
	memoryLimit int64
}

// setting is one thing that can be configured. Its key is the name of the flag, of the entry in
// the file, and, in capitals after KVD_, of the environment variable.
type setting struct {
	key     string
	def     string
	help    string
	apply   func(*config, string) error
	isBool  bool
	example string // placeholder in the help
}

// settings is the table of all of them.
var settings = []setting{
	text("data", "", "DIR", "the node's directory", func(c *config) *string { return &c.host.Data }),
	text("listen", "127.0.0.1:7411", "HOST:PORT", "the one port for clients and other nodes; port 0 is any free one", func(c *config) *string { return &c.host.Listen }),
	text("advertise", "", "HOST:PORT", "address under which others reach this node, if it is not that of listen", func(c *config) *string { return &c.host.Network.Advertise }),
	text("admin-listen", "127.0.0.1:0", "HOST:PORT", "HTTP port for /livez, /readyz, /metrics and, on loopback, /debug/pprof; \"none\" for no such port", func(c *config) *string { return &c.host.Network.AdminListen }),
	{key: "join", example: "A,B,C", help: "addresses of the nodes of the cluster, this one among them; the same list on all nodes and at every start", apply: applyJoin},
	text("locality", "", "region=x,zone=y", "where this node is: replicas of a partition are spread over localities", func(c *config) *string { return &c.host.Locality }),
	{key: "read-mode", def: string(host.ReadLease), example: "MODE", help: "lease, or quorum: every read asks a quorum, and no clock matters", apply: applyReadMode},
	{key: "commit", def: string(host.CommitTwoPhase), example: "MODE", help: "how transactions over several partitions commit whose anchor is led here: two-phase, or parallel, in one consensus round instead of two; may differ between nodes", apply: applyCommit},
	{key: "loops", def: strconv.Itoa(host.LoopsDefault), example: "N", help: "event loops, which share the partitions out among them: 1 to 64, no more than the machine has cores to spare; may differ between nodes and between starts", apply: applyLoops},
	flag("insecure", "allow to listen beyond the loopback interface, without TLS", func(c *config) *bool { return &c.host.Network.Insecure }),
	text("log-format", "text", "FORMAT", "text or json", func(c *config) *string { return &c.logFormat }),
	text("log-level", "info", "LEVEL", "trace, debug, info, warn or error", func(c *config) *string { return &c.logLevel }),
	flag("dev", "gRPC reflection, for tools that explore", func(c *config) *bool { return &c.dev }),
	number("requests-max", host.RequestsMaxDefault, "requests without an answer that the node takes on", func(c *config, n int64) { c.host.Limits.RequestsMax = int(n) }),
	size("request-bytes-max", host.RequestBytesMaxDefault, "bytes of the writes among them", func(c *config, n int64) { c.host.Limits.RequestBytesMax = n }),
	size("snapshot-bytes-per-second", host.SnapshotBytesPerSecondDefault, "rate at which replicas are copied to other nodes", func(c *config, n int64) { c.host.Limits.SnapshotBytesPerSecond = n }),
	size("cache-bytes", 256<<20, "cache of the engine: a quarter for newest versions, the rest for blocks", func(c *config, n int64) { c.host.Storage.CacheBytes = n }),
	size("memtable-bytes", 64<<20, "what the engine keeps in memory before it writes a table", func(c *config, n int64) { c.host.Storage.MemTableBytes = n }),
	size("entry-cache-bytes", host.EntryCacheBytesDefault, "cache of the newest log entries", func(c *config, n int64) { c.host.Storage.EntryCacheBytes = n }),
	size("log-keep-bytes", host.LogKeepBytesDefault, "log that may stand before the engine is flushed for it", func(c *config, n int64) { c.host.Storage.LogKeepBytes = n }),
	size("log-segment-bytes", 64<<20, "size of a segment of the log", func(c *config, n int64) { c.host.Storage.LogSegmentBytes = n }),
	size("reserve-bytes", host.ReserveBytesDefault, "file that is given up when the disk is full", func(c *config, n int64) { c.host.Storage.ReserveBytes = n }),
	duration("support-duration", "", "how long nodes promise each other support: a constant of the cluster, set at its first start", func(c *config, d time.Duration) { c.host.Timing.Support = d }),
	duration("drain-timeout", "10s", "how long leaderships may take to move away before a stop", func(c *config, d time.Duration) { c.host.Timing.Drain = d }),
	duration("dead-after", "5m", "how long a node may be silent before its replicas are replaced", func(c *config, d time.Duration) { c.host.Timing.Core.DeadAfter = d }),
	duration("retention", "1h", "how long old versions of keyspaces are kept that do not say how long: 10m or more", func(c *config, d time.Duration) { c.host.Retention = d }),
	duration("hold-max", "24h", "how long an open snapshot keeps what it reads from being collected; that of the core's leader counts", func(c *config, d time.Duration) { c.host.Timing.Core.HoldMax = d }),
	number("gc-percent", gcPercentDefault, "how much the heap may grow between two collections, as GOGC", func(c *config, n int64) { c.gcPercent = int(min(n, math.MaxInt32)) }),
	size("memory-limit", 0, "soft limit of the process' memory, as GOMEMLIMIT; 0 = none", func(c *config, n int64) { c.memoryLimit = n }),
}

// gcPercentDefault suits a server whose live heap is small and whose garbage is short-lived.
const gcPercentDefault = 200

func settingOf(key string) *setting {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	return &settings[i]
}

func text(key, def, example, help string, field func(*config) *string) setting {
	return setting{key: key, def: def, example: example, help: help, apply: func(c *config, v string) error {
		*field(c) = v
		return nil
	}}
}

func flag(key, help string, field func(*config) *bool) setting {
	return setting{key: key, def: "false", help: help, isBool: true, apply: func(c *config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return wrong(key, v, "it is true or false")
		}
		*field(c) = b
		return nil
	}}
}

func number(key string, def int64, help string, set func(*config, int64)) setting {
	return setting{key: key, def: strconv.FormatInt(def, 10), example: "N", help: help, apply: func(c *config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return wrong(key, v, "it is a positive number")
		}
		set(c, n)
		return nil
	}}
}

func size(key string, def int64, help string, set func(*config, int64)) setting {
	return setting{key: key, def: formatBytes(def), example: "BYTES", help: help, apply: func(c *config, v string) error {
		n, err := parseBytes(v)
		if err != nil {
			return wrong(key, v, "it is a number of bytes, or one with KiB, MiB, GiB, like 64MiB")
		}
		set(c, n)
		return nil
	}}
}

func duration(key, def, help string, set func(*config, time.Duration)) setting {
	return setting{key: key, def: def, example: "DURATION", help: help, apply: func(c *config, v string) error {
		if v == "" {
			return nil
		}
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return wrong(key, v, "it is a duration, like 600ms or 5m")
		}
		set(c, d)
		return nil
	}}
}

func applyJoin(c *config, v string) error {
	c.host.Join = nil
	for a := range strings.SplitSeq(v, ",") {
		if a = strings.TrimSpace(a); a != "" {
			c.host.Join = append(c.host.Join, a)
		}
	}
	return nil
}

func applyReadMode(c *config, v string) error {
	c.host.ReadMode = host.ReadMode(v)
	return nil
}

func applyCommit(c *config, v string) error {
	c.host.Commit = host.CommitMode(v)
	return nil
}

func applyLoops(c *config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > kv.LoopsMax {
		return wrong("loops", v, fmt.Sprintf("it is a number from 1 to %d", kv.LoopsMax))
	}
	c.host.Loops = n
	return nil
}

func wrong(key, value, is string) error {
	return kv.Errorf(kv.Invalid, "%s %q: %s", key, value, is)
}

var byteUnits = []struct {
	name  string
	shift uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}}

func parseBytes(s string) (int64, error) {
	shift := uint(0)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, shift = strings.TrimSpace(rest), u.shift
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, cmp.Or(err, fmt.Errorf("%s is out of range", s))
	}
	return n << shift, nil
}

// formatBytes writes a number in the largest unit that loses nothing.
func formatBytes(n int64) string {
	for _, u := range byteUnits {
		if u.shift > 0 && n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
