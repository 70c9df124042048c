package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/wal"
)

// running is a started node with everything that works for it.
type running struct {
	loops     loops
	engine    *mvcc.Engine
	pace      *background
	disk      *disk
	applier   *applier
	readers   *readers
	peers     *peers
	receiver  *receiver
	snapshots *snapshots
	clock     *Clock
	info      atomic.Pointer[kv.NodeInfo] // of the registry
	ended     chan struct{}               // closed when no loop turns any more
}

// startNode opens what the disk holds and makes the node (rule 52): log, engine, incarnation,
// node, and only then the streams.
func (h *Host) startNode() (*running, error) {
	log, recovered, err := h.openLog()
	if err != nil {
		return nil, err
	}
	clock := NewClock()
	pace := newBackground(clock.Now)
	engine, err := mvcc.Open(mvcc.Options{
		Dir: h.dir.file(stateDirName), CacheBytes: h.options.Storage.CacheBytes, MemTableBytes: int(h.options.Storage.MemTableBytes),
		Pace:   pace.pace,
		Logger: engineLogger{h.options.Log.Named("engine"), h.fail},
	})
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	r := &running{engine: engine, pace: pace, clock: clock, ended: make(chan struct{})}
	r.disk = &disk{log: log, fail: h.fail, logger: h.options.Log.Named("disk"), metrics: &h.metrics.disk}
	if err := h.assemble(r, log, recovered); err != nil {
		_ = engine.Abandon()
		_ = log.Close()
		return nil, err
	}
	return r, nil
}

func (h *Host) openLog() (*wal.Log, *wal.Recovered, error) {
	dir := h.dir.file(logDirName)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, nil, kv.Errorf(kv.Internal, "%v", err)
	}
	s := h.dir.current()
	o := wal.Options{
		FS: wal.OSFS{}, Dir: dir, StoreID: s.StoreID, SegmentBytes: int(h.options.Storage.LogSegmentBytes), SpareBytes: h.options.Storage.ReserveBytes,
	}
	open := wal.Open
	if !notEmpty(dir) { // openDirectory has refused a lost log
		open = wal.Create
	}
	log, recovered, err := open(o)
	if err != nil {
		return nil, nil, err
	}
	tellRecovered(h.options.Log, recovered)
	return log, recovered, nil
}

// tellRecovered says what was wrong with the log.
func tellRecovered(logger hclog.Logger, r *wal.Recovered) {
	for _, d := range r.Damage {
		logger.Error("the log is damaged", "damage", d)
	}
	if t := r.Torn; t != (wal.Position{}) {
		logger.Info("a crash cut the last write to the log short: what is there of it was removed, and nothing of it was acknowledged",
			"segment", t.Segment, "offset", t.Offset, "bytes", t.Len)
	}
}

// assemble makes everything that works for the node, and the node, and starts it all.
func (h *Host) assemble(r *running, log *wal.Log, recovered *wal.Recovered) error {
	err := h.dir.update(func(s *Store) {
		s.Formatted = true
		s.Incarnation++
		s.Address = h.address
	})
	if err != nil {
		return err
	}
	s := h.dir.current()
	self := handshake{Protocol: PeerProtocol, Cluster: s.Cluster, Node: s.Node, Incarnation: s.Incarnation, Support: s.Support, StoreFormat: StoreFormat, Address: h.address}
	if err := h.makeLoops(r, s, log, recovered); err != nil {
		return err
	}
	h.connectParts(r, self)
	if err := startDisk(r.disk, h.dir.file(probeName)); err != nil {
		return err
	}
	startApplier(r.applier)
	startReaders(r.readers)
	startSnapshots(r.snapshots)
	for _, l := range r.loops {
		l.shared.turned.Store(int64(r.clock.Now()))
	}
	var turning sync.WaitGroup
	for _, l := range r.loops {
		turning.Go(l.run)
	}
	go func() {
		turning.Wait()
		close(r.ended)
	}()
	r.peers.connect(s.Peers)
	return nil
}

// makeLoops makes a node for each loop, each from its part of what the disk holds.
func (h *Host) makeLoops(r *running, s *Store, log *wal.Log, recovered *wal.Recovered) error {
	replicas, err := r.engine.Replicas()
	if err != nil {
		return err
	}
	engine := r.engine
	var scanErr error
	boot := node.Boot{Log: recovered, Replicas: replicas, System: func(yield func(string, []byte) bool) {
		scanErr = engine.SystemScan("", func(key string, value []byte) error {
			if !yield(key, value) {
				return errEnough
			}
			return nil
		})
	}}
	id := node.Identity{
		Cluster: s.Cluster, Node: s.Node, Incarnation: s.Incarnation, Fresh: h.dir.fresh, Founders: s.Founders, Peers: s.Peers,
		Info:  kv.NodeInfo{ID: s.Node, Address: h.address, Locality: h.options.Locality, Nonce: s.Nonce},
		Loops: h.options.Loops,
	}
	for _, f := range s.Founders {
		id.Info.Core = id.Info.Core || f.ID == s.Node && f.Core
	}
	coreOptions := h.options.Timing.Core
	coreOptions.Self = s.Node
	limits := &budget{loops: id.Loops, max: int64(h.options.Limits.RequestsMax), bytesMax: h.options.Limits.RequestBytesMax}
	for id.Loop = range id.Loops {
		n, err := node.New(r.clock.Now(), node.Config{
			Replication: *h.options.params(s.Support), QuorumReads: h.options.ReadMode == ReadQuorum, Seed: rand.Uint64(),
			Partition: h.options.partitionOptions(), Core: coreOptions, LogKeepBytes: h.options.Storage.LogKeepBytes,
			EntryCacheBytes: h.options.Storage.EntryCacheBytes / int64(id.Loops), ReadEntry: log.Read, DataDir: h.options.Data,
			Retention: h.options.Retention, RetainInterval: h.options.Timing.Retain,
		}, id, boot)
		if err == nil && scanErr != nil && !errors.Is(scanErr, errEnough) {
			err = scanErr
		}
		if err != nil {
			return err
		}
		r.loops = append(r.loops, &loop{
			node: n, self: s.Node, inbox: newInbox(id.Loop, limits), clock: r.clock, wall: h.options.Timing.Wall, logger: h.options.Log,
			calls: callTable{metrics: &h.metrics.requests}, index: id.Loop, support: kv.Instant(s.Support),
		})
	}
	info := r.loops[0].node.Info()
	r.info.Store(&info)
	return nil
}

var errEnough = kv.Errorf(kv.Canceled, "enough")

// connectParts ties the parts to the loops and to each other.
func (h *Host) connectParts(r *running, self handshake) {
	log, ls := h.options.Log, r.loops
	h.connectDisk(r)
	r.applier = &applier{
		engine: r.engine, applied: ls.applied, fail: h.fail, logger: log.Named("engine"), metrics: &h.metrics.apply,
		flushed: func(f []node.Flushed) { ls.every(func(n *node.Node, now kv.Instant) { n.Flushed(now, f) }) },
		full:    func(full bool) { ls.every(func(n *node.Node, now kv.Instant) { n.EngineFull(now, full) }) },
		collected: func(t *node.CollectTask) {
			ls.of(t.Partition()).do(func(n *node.Node, now kv.Instant) { n.Collected(now, t) })
		},
	}
	r.readers = &readers{
		engine: r.engine, now: r.clock.Now, done: ls.readsDone,
		summed: func(t *node.DigestTask) {
			ls.of(t.Partition()).do(func(n *node.Node, now kv.Instant) { n.DigestDone(now, t) })
		},
	}
	r.peers = newPeers(self, func(id kv.NodeID) { ls.every(func(n *node.Node, now kv.Instant) { n.PeerLost(now, id) }) }, log.Named("peers"))
	if dial := h.options.Network.Dial; dial != nil {
		r.peers.dial = dial
	}
	r.receiver = newReceiver(self, ls.receive, r.peers.learn)
	r.snapshots = &snapshots{
		engine: r.engine, self: self, limit: &limiter{perSecond: h.options.Limits.SnapshotBytesPerSecond}, logger: log.Named("snapshots"), metrics: &h.metrics.snapshots,
		admit: r.receiver.admit, address: r.address, full: func() bool { return r.disk.health.full.Load() },
		sent: func(s node.SendSnapshot, ok bool) {
			ls.of(s.Args.Partition).do(func(n *node.Node, now kv.Instant) { n.SnapshotSent(now, s.Args.Partition, s.ToReplica, ok) })
		},
		damaged: func(p kv.PartitionID, err error) {
			ls.of(p).do(func(n *node.Node, now kv.Instant) { n.Damaged(now, p, err) })
		},
		received: func(from kv.NodeID, s *node.Snapshot) {
			ls.of(s.Partition).do(func(n *node.Node, now kv.Instant) { n.SnapshotReceived(now, from, s) })
		},
	}
	for _, l := range ls {
		l.all = ls
		l.world = world{disk: r.disk, applier: r.applier, readers: r.readers, peers: r.peers, snapshots: r.snapshots, registry: func(info kv.NodeInfo, nodes []kv.NodeInfo) {
			r.info.Store(&info)
			r.peers.connect(nodes)
			h.remember(nodes)
		}}
	}
}

// connectDisk ties the disk to the loops that share it.
func (h *Host) connectDisk(r *running) {
	d, ls := r.disk, r.loops
	d.stored, d.low = ls.stored, node.NewLowWater(len(ls))
	d.report = func(slow bool) {
		full := d.health.full.Load()
		ls.every(func(n *node.Node, now kv.Instant) {
			n.DiskFull(now, full)
			n.DiskSlow(now, slow)
		})
	}
	if len(ls) > 1 {
		d.grew = func(segment uint64) { ls.every(func(n *node.Node, now kv.Instant) { n.LogGrew(now, segment) }) }
		d.tellGrowth(d.log.Stats().Segment)
	}
}

func (r *running) address(id kv.NodeID) (string, bool) {
	p := r.peers.get(id)
	if p == nil {
		return "", false
	}
	return *p.address.Load(), true
}

// stop ends everything, in an order in which nobody is left waiting.
func (r *running) stop() error {
	for _, l := range r.loops {
		l.inbox.close()
	}
	<-r.ended
	r.peers.close()
	r.snapshots.close()
	r.readers.close()
	r.applier.close()
	r.disk.close()
	err := r.engine.Close()
	if lerr := r.disk.log.Close(); err == nil {
		err = lerr
	}
	return err
}

// nodeStatus is what the node knows of itself.
func (r *running) nodeStatus() (*kv.NodeStatus, error) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := r.loops.admin(ctx, &kv.AdminRequest{NodeStatus: &kv.NodeQuery{}})
	if err != nil {
		return nil, err
	}
	return a.Node, nil
}

func (r *running) diskFull(dir string) *kv.Error {
	return kv.Errorf(kv.DiskFull, "the disk of %s is full: free some space there", dir)
}
