package host

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

// SupportDurationDefault is D of a new cluster (L58).
const SupportDurationDefault = 600 * time.Millisecond

// ReadMode says how a leader proves, before it answers a read, that it still leads.
type ReadMode string

// The read modes.
const (
	ReadLease  ReadMode = "lease"  // by its lease, which rests on clocks that run at about the same rate
	ReadQuorum ReadMode = "quorum" // by asking a quorum each time: no clock matters
)

// CommitMode says how a leader commits transactions over several partitions. All nodes take part in both.
type CommitMode string

// The commit modes.
const (
	CommitTwoPhase CommitMode = "two-phase" // two consensus rounds, one after the other
	CommitParallel CommitMode = "parallel"  // one consensus round in all partitions at once
)

// Options say how a node runs. The zero value of a field means its default; Data and
// Listen are required.
type Options struct {
	Data     string
	Listen   string   // host:port of the one port for clients and peers; port 0 = any free one
	Join     []string // addresses of the nodes of the cluster; empty: only this one
	Locality string   // "region=x,zone=y"
	ReadMode ReadMode
	Commit   CommitMode
	Loops    int // event loops, each owning a part of the replicas; may be another number at each start
	// Retention is how long old versions of keyspaces are kept that do not say how long; 0 = an hour.
	Retention time.Duration
	Network   Network
	Limits    Limits
	Storage   Storage
	Timing    Timing
	Log       hclog.Logger
	// Doors opens the doors for clients on the server, before it serves, and says which connections
	// to the same port are served without gRPC.
	Doors func(grpc.ServiceRegistrar, *Host) door.Plain
	// Admin knocks at the door for administrators of another node; nil: this node can found a
	// cluster, but not join one.
	Admin AdminCall
}

// AdminCall asks the node at an address, which passes on what it cannot answer itself.
type AdminCall func(ctx context.Context, address string, req *kv.AdminRequest) (*kv.AdminResponse, error)

// Network is how a node is reached.
type Network struct {
	Advertise   string // address under which others reach this node; empty: that of Listen
	AdminListen string // host:port of the HTTP admin port; empty: none
	// Insecure allows listening beyond the loopback interface, where anybody may read and write.
	Insecure bool
	// Dial connects to other nodes, for tests that cut connections; nil: by TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Limits bound what a node takes on.
type Limits struct {
	RequestsMax            int   // requests without an answer
	RequestBytesMax        int64 // of the writes among them
	SnapshotBytesPerSecond int64 // sent to other nodes, all snapshots together
}

// Storage sizes what the node keeps, in bytes.
type Storage struct {
	CacheBytes      int64 // of the engine: a quarter for newest versions, the rest for blocks
	MemTableBytes   int64
	EntryCacheBytes int64 // newest log entries, in memory
	LogKeepBytes    int64 // log that may stand before the engine is flushed for it
	LogSegmentBytes int64
	ReserveBytes    int64 // file that is given up when the disk is full
}

// Timing are the clocks of a cluster; tests shorten them.
type Timing struct {
	Support time.Duration // D of a new cluster; 0 = as the store says, or the default
	Drain   time.Duration // how long leaders may take to move away before a stop
	Retain  time.Duration // how often it is looked whether old versions can go; 0 = 30 s
	// Wall is the wall clock, for tests that let much time pass; nil: time.Now.
	Wall func() time.Time
	Core core.Options
}

// Defaults.
const (
	LoopsDefault                  = 1
	RequestsMaxDefault            = 65_536
	RequestBytesMaxDefault        = 512 << 20
	SnapshotBytesPerSecondDefault = 64 << 20
	EntryCacheBytesDefault        = 64 << 20
	LogKeepBytesDefault           = 256 << 20
	ReserveBytesDefault           = 64 << 20
	DrainDefault                  = 10 * time.Second
	tickInterval                  = 10 * time.Millisecond
)

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) setDefaults() {
	setDefault(&o.ReadMode, ReadLease)
	setDefault(&o.Commit, CommitTwoPhase)
	setDefault(&o.Loops, LoopsDefault)
	setDefault(&o.Limits.RequestsMax, RequestsMaxDefault)
	setDefault(&o.Limits.RequestBytesMax, RequestBytesMaxDefault)
	setDefault(&o.Limits.SnapshotBytesPerSecond, SnapshotBytesPerSecondDefault)
	setDefault(&o.Storage.CacheBytes, mvcc.CacheBytesDefault)
	setDefault(&o.Storage.MemTableBytes, mvcc.MemTableBytesDefault)
	setDefault(&o.Storage.EntryCacheBytes, EntryCacheBytesDefault)
	setDefault(&o.Storage.LogKeepBytes, LogKeepBytesDefault)
	setDefault(&o.Storage.ReserveBytes, ReserveBytesDefault)
	setDefault(&o.Timing.Drain, DrainDefault)
	if o.Timing.Wall == nil {
		o.Timing.Wall = time.Now
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
}

// Validate refuses options that cannot work, with one sentence that names the option.
func (o *Options) Validate() error {
	for _, c := range []func() error{o.validateAddresses, o.validateLocality, o.validateLimits, o.validateRetention} {
		if err := c(); err != nil {
			return err
		}
	}
	if o.Data == "" {
		return kv.Errorf(kv.Invalid, "no data directory: give one with --data")
	}
	if o.Commit != "" && o.Commit != CommitTwoPhase && o.Commit != CommitParallel {
		return kv.Errorf(kv.Invalid, "commit %q: it is two-phase or parallel", o.Commit)
	}
	if o.ReadMode != "" && o.ReadMode != ReadLease && o.ReadMode != ReadQuorum {
		return kv.Errorf(kv.Invalid, "read-mode %q: it is lease or quorum", o.ReadMode)
	}
	if o.Loops < 0 || o.Loops > kv.LoopsMax {
		return kv.LimitError("loops", kv.LoopsMax, int64(o.Loops), "choose 1 to 64; more than the machine has cores is of no use")
	}
	if o.Timing.Support != 0 {
		return o.params(o.Timing.Support).Validate()
	}
	return nil
}

func (o *Options) validateAddresses() error {
	if o.Listen == "" {
		return kv.Errorf(kv.Invalid, "no address to listen on: give one with --listen, for example 127.0.0.1:7411")
	}
	addresses := []struct{ name, address string }{{"listen", o.Listen}, {"advertise", o.Network.Advertise}, {"admin-listen", o.Network.AdminListen}}
	for _, a := range o.Join {
		addresses = append(addresses, struct{ name, address string }{"join", a})
	}
	for _, a := range addresses {
		if a.address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.address); err != nil || len(a.address) > kv.AddressBytesMax {
			return kv.Errorf(kv.Invalid, "--%s %q is not of the form HOST:PORT, of %d bytes at most", a.name, a.address, kv.AddressBytesMax)
		}
	}
	for _, a := range addresses[:3:3] {
		if a.name != "advertise" && a.address != "" && !o.Network.Insecure && !onLoopback(a.address) {
			return kv.Errorf(kv.Invalid, "--%s %s is reachable from other machines, and kvd has no TLS yet: listen on 127.0.0.1, or say --insecure if the network is trusted", a.name, a.address)
		}
	}
	return nil
}

// onLoopback reports whether only this machine can reach the address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (o *Options) validateLocality() error {
	if len(o.Locality) > kv.LocalityBytesMax {
		return kv.LimitError("LocalityBytesMax", kv.LocalityBytesMax, int64(len(o.Locality)), "shorten --locality")
	}
	if o.Locality == "" {
		return nil
	}
	for _, part := range strings.Split(o.Locality, ",") {
		if k, v, ok := strings.Cut(part, "="); !ok || k == "" || v == "" {
			return kv.Errorf(kv.Invalid, "--locality %q: it is a list like region=eu,zone=a", o.Locality)
		}
	}
	return nil
}

func (o *Options) validateRetention() error {
	if err := kv.CheckRetention(o.Retention); err != nil {
		return err
	}
	if d := o.Timing.Core.HoldMax; d != 0 && d < kv.RetentionMin {
		return kv.Errorf(kv.Invalid, "hold-max %v is too short: the least is %v, which everything is kept anyway", d, kv.RetentionMin)
	}
	return nil
}

func (o *Options) validateLimits() error {
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"requests-max", int64(o.Limits.RequestsMax)},
		{"request-bytes-max", o.Limits.RequestBytesMax},
		{"snapshot-bytes-per-second", o.Limits.SnapshotBytesPerSecond},
		{"cache-bytes", o.Storage.CacheBytes},
		{"memtable-bytes", o.Storage.MemTableBytes},
		{"entry-cache-bytes", o.Storage.EntryCacheBytes},
		{"log-keep-bytes", o.Storage.LogKeepBytes},
		{"log-segment-bytes", o.Storage.LogSegmentBytes},
		{"reserve-bytes", o.Storage.ReserveBytes},
	} {
		if n.value < 0 {
			return kv.Errorf(kv.Invalid, "%s is %d: it is a positive number, or 0 for the default", n.name, n.value)
		}
	}
	if o.Limits.RequestsMax > slotMask {
		return kv.LimitError("requests-max", slotMask, int64(o.Limits.RequestsMax), "lower it")
	}
	return nil
}

// params are the constants of liveness, for a support duration of d: its parts keep their proportion.
func (o *Options) params(d time.Duration) *replication.Params {
	p := replication.DefaultParams()
	if d != p.SupportDuration {
		p.HeartbeatInterval = d / 6
		p.SupportDuration = d
		p.ElectionTicks = max(p.ElectionTicks, int((d+p.RaftTick-1)/p.RaftTick))
	}
	return &p
}

// partitionOptions bounds each partition by what the whole node may take on.
func (o *Options) partitionOptions() partition.Options {
	p := partition.Options{RequestsMax: min(o.Limits.RequestsMax, partition.RequestsMaxDefault)}
	if o.Commit == CommitParallel {
		p.Commit = partition.Parallel
	}
	return p
}

// joinList is whom to ask at a first start; without --join this node alone.
func (o *Options) joinList(self string) []string {
	var list []string
	for _, a := range o.Join {
		if a = strings.TrimSpace(a); a != "" && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		list = []string{self}
	}
	return list
}

func (o *Options) String() string {
	return fmt.Sprintf("data %s, listen %s, join %s", o.Data, o.Listen, strings.Join(o.Join, ","))
}
