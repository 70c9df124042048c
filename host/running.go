package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/wal"
)

// running is a started node with everything that works for it.
type running struct {
	inbox     *inbox
	engine    *mvcc.Engine
	disk      *disk
	applier   *applier
	readers   *readers
	peers     *peers
	receiver  *receiver
	snapshots *snapshots
	shared    *shared
	loop      *loop
	loopEnded chan struct{}
}

// startNode opens what the disk holds and makes the node (rule 52): log, engine, incarnation,
// node, and only then the streams.
func (h *Host) startNode() (*running, error) {
	log, recovered, err := h.openLog()
	if err != nil {
		return nil, err
	}
	engine, err := mvcc.Open(mvcc.Options{
		Dir: h.dir.file(stateDirName), CacheBytes: h.options.Storage.CacheBytes, MemTableBytes: int(h.options.Storage.MemTableBytes),
		Logger: engineLogger{h.options.Log.Named("engine"), h.fail},
	})
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	r := &running{engine: engine, inbox: newInbox(h.options.Limits.RequestsMax, h.options.Limits.RequestBytesMax), shared: &shared{}, loopEnded: make(chan struct{})}
	r.disk = &disk{log: log, stored: r.inbox.storedNow, fail: h.fail, logger: h.options.Log.Named("disk"), metrics: &h.metrics.disk}
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
	for _, d := range recovered.Damage {
		h.options.Log.Error("the log is damaged", "damage", d)
	}
	return log, recovered, nil
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
	clock := NewClock()
	n, err := h.newNode(s, clock.Now(), log, recovered, r.engine)
	if err != nil {
		return err
	}
	self := handshake{Protocol: PeerProtocol, Cluster: s.Cluster, Node: s.Node, Incarnation: s.Incarnation, Support: s.Support, StoreFormat: StoreFormat, Address: h.address}
	h.connectParts(r, n, self, clock)
	if err := startDisk(r.disk, h.dir.file(probeName)); err != nil {
		return err
	}
	startApplier(r.applier)
	startReaders(r.readers)
	startSnapshots(r.snapshots)
	info := n.Info()
	r.shared.info.Store(&info)
	r.shared.turned.Store(time.Now().UnixNano())
	go func() {
		defer close(r.loopEnded)
		r.loop.run()
	}()
	r.peers.connect(s.Peers)
	return nil
}

func (h *Host) newNode(s *Store, now kv.Instant, log *wal.Log, recovered *wal.Recovered, engine *mvcc.Engine) (*node.Node, error) {
	replicas, err := engine.Replicas()
	if err != nil {
		return nil, err
	}
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
		Info: kv.NodeInfo{ID: s.Node, Address: h.address, Locality: h.options.Locality, Nonce: s.Nonce},
	}
	for _, f := range s.Founders {
		id.Info.Core = id.Info.Core || f.ID == s.Node && f.Core
	}
	coreOptions := h.options.Timing.Core
	coreOptions.Self = s.Node
	n, err := node.New(now, node.Config{
		Replication: *h.options.params(s.Support), QuorumReads: h.options.ReadMode == ReadQuorum, Seed: rand.Uint64(),
		Partition: h.options.partitionOptions(), Core: coreOptions, LogKeepBytes: h.options.Storage.LogKeepBytes,
		EntryCacheBytes: h.options.Storage.EntryCacheBytes, ReadEntry: log.Read, DataDir: h.options.Data,
	}, id, boot)
	if err == nil && scanErr != nil && !errors.Is(scanErr, errEnough) {
		err = scanErr
	}
	return n, err
}

var errEnough = kv.Errorf(kv.Canceled, "enough")

// connectParts ties the parts to the inbox and to each other.
func (h *Host) connectParts(r *running, n *node.Node, self handshake, clock *Clock) {
	log, in := h.options.Log, r.inbox
	r.disk.report = func(slow bool) {
		full := r.disk.health.full.Load()
		in.do(func(now kv.Instant) {
			n.DiskFull(now, full)
			n.DiskSlow(now, slow)
		})
	}
	r.applier = &applier{
		engine: r.engine, applied: in.appliedNow, fail: h.fail, logger: log.Named("engine"), metrics: &h.metrics.apply,
		flushed:   func(f []node.Flushed) { in.do(func(now kv.Instant) { n.Flushed(now, f) }) },
		collected: func(t *node.CollectTask) { in.do(func(now kv.Instant) { n.Collected(now, t) }) },
	}
	r.readers = &readers{
		engine: r.engine, now: clock.Now, done: in.readsDone,
		summed: func(t *node.DigestTask) { in.do(func(now kv.Instant) { n.DigestDone(now, t) }) },
	}
	r.peers = newPeers(self, func(id kv.NodeID) { in.do(func(now kv.Instant) { n.PeerLost(now, id) }) }, log.Named("peers"))
	r.receiver = newReceiver(self, in.receive, r.peers.learn)
	r.snapshots = &snapshots{
		engine: r.engine, self: self, limit: &limiter{perSecond: h.options.Limits.SnapshotBytesPerSecond}, logger: log.Named("snapshots"), metrics: &h.metrics.snapshots,
		admit: r.receiver.admit, address: r.address, full: func() bool { return r.disk.health.full.Load() },
		sent: func(s node.SendSnapshot, ok bool) {
			in.do(func(now kv.Instant) { n.SnapshotSent(now, s.Args.Partition, s.ToReplica, ok) })
		},
		received: func(from kv.NodeID, s *node.Snapshot) {
			in.do(func(now kv.Instant) { n.SnapshotReceived(now, from, s) })
		},
	}
	r.loop = &loop{
		node: n, self: self.Node, inbox: in, clock: clock, shared: r.shared, logger: log, calls: callTable{metrics: &h.metrics.requests},
		world: world{disk: r.disk, applier: r.applier, readers: r.readers, peers: r.peers, snapshots: r.snapshots, registry: h.remember},
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
	r.inbox.close()
	<-r.loopEnded
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

// admin asks the node and waits.
func (r *running) admin(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error) {
	answer := make(chan adminAnswer, 1)
	id, err := r.inbox.admin(req, answer)
	if err != nil {
		return nil, err
	}
	var a adminAnswer
	select {
	case a = <-answer:
	case <-ctx.Done():
		r.inbox.cancel(id)
		a = <-answer // the loop answers what is canceled
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.resp, nil
}

// nodeStatus is what the node knows of itself.
func (r *running) nodeStatus() (*kv.NodeStatus, error) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := r.admin(ctx, &kv.AdminRequest{NodeStatus: &kv.NodeQuery{}})
	if err != nil {
		return nil, err
	}
	return a.Node, nil
}

func (r *running) diskFull(dir string) *kv.Error {
	return kv.Errorf(kv.DiskFull, "the disk of %s is full: free some space there", dir)
}
