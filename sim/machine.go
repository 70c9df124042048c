package sim

import (
	"fmt"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/wal"
)

// machine is one computer: its clock and its disks outlive the processes that run on it, one at
// a time.
type machine struct {
	w           *World
	id          kv.NodeID
	clock       *clock
	disk        disk
	logFS       *wal.MemFS
	engineFS    *mvcc.MemFS
	engineDisk  engineDisk
	incarnation uint64 // as on the disk: bumped and synced at every start
	process     *process
	down        ns   // until then, if nothing runs
	dead        bool // it failed for good, as a fault of this run wanted
}

const (
	storeID      = 0x6b7664
	logDir       = "log"
	stateDir     = "state"
	segmentBytes = 16 << 10
	cacheBytes   = 1 << 20
	memTable     = 1 << 20
)

func newMachine(w *World, id kv.NodeID) *machine {
	m := &machine{w: w, id: id, clock: newClock(w.scheduler, w.cfg.ClockPPM), logFS: wal.NewMemFS(), engineFS: mvcc.NewMemFS()}
	m.disk = disk{w: w, faults: w.cfg.Disk}
	return m
}

// info is the machine as the registry has it.
func (m *machine) info() kv.NodeInfo {
	return kv.NodeInfo{ID: m.id, Address: fmt.Sprintf("node%d:7400", m.id), Nonce: uint64(m.id), Locality: fmt.Sprintf("zone=%d", m.id)}
}

// start runs a process on what the disks hold (rule 52).
func (m *machine) start() {
	w := m.w
	fresh := m.incarnation == 0
	m.mendEngine()
	m.incarnation++
	p := &process{w: w, m: m}
	p.doors = doors{p: p, open: map[node.RequestID]func(answer){}}
	p.log.places = map[kv.PartitionID]wal.Position{}
	p.log.p, p.applier.p, p.readers.p = p, p, p
	m.process, m.down = p, 0
	w.trace.note(40, uint64(m.id), m.incarnation)
	w.trace.line("node %d starts, incarnation %d", m.id, m.incarnation)
	boot, err := p.open(fresh)
	if err != nil {
		w.unstartable(p, err)
		return
	}
	id := node.Identity{Cluster: 1, Node: m.id, Incarnation: m.incarnation, Fresh: fresh, Info: m.info(), Loops: w.loops()}
	for _, o := range w.machines {
		id.Peers = append(id.Peers, o.info())
	}
	id.Founders = core.ChooseCore(id.Peers)
	p.low = node.NewLowWater(id.Loops)
	for id.Loop = range id.Loops {
		l := &eventLoop{p: p, index: id.Loop, turned: w.now, inbox: make([][]input, p.from(kv.NodeID(len(w.machines)), 1)+1)}
		if l.node, err = node.New(m.clock.now(), w.nodeConfig(p), id, boot); err != nil {
			w.fatal(p, "starting the node", err)
			return
		}
		p.loops = append(p.loops, l)
	}
	for _, l := range p.loops {
		w.after(m.clock.span(w.upTo(tickInterval)), l.tick)
		l.post(fromTimer, l.tickNow)
	}
	p.log.grew(p.log.log.Stats().Segment)
}

// loops is how many a process that starts now has.
func (w *World) loops() int {
	least := max(w.cfg.LoopsMin, 1)
	if w.cfg.LoopsMax <= least {
		return least
	}
	return least + w.rng.IntN(w.cfg.LoopsMax-least+1)
}

// open opens the stores and reads what they hold.
func (p *process) open(fresh bool) (node.Boot, error) {
	var boot node.Boot
	opts := wal.Options{FS: p.m.logFS, Dir: logDir, StoreID: storeID + uint64(p.m.id), SegmentBytes: segmentBytes}
	openLog := wal.Open
	if fresh {
		openLog = wal.Create
	}
	var err error
	if p.log.log, boot.Log, err = openLog(opts); err != nil {
		return boot, err
	}
	e, err := mvcc.Open(mvcc.Options{Dir: stateDir, FS: p.m.engineDisk.faults.Filesystem(p.m.engineFS), CacheBytes: cacheBytes, MemTableBytes: memTable, BlockBytes: p.w.cfg.Disk.BlockBytes, Deterministic: true})
	if err != nil {
		return boot, err
	}
	p.applier.engine = e
	if boot.Replicas, err = e.Replicas(); err != nil {
		return boot, err
	}
	boot.System = func(yield func(string, []byte) bool) {
		err = e.SystemScan("", func(k string, v []byte) error {
			if !yield(k, v) {
				return errStop
			}
			return nil
		})
	}
	return boot, err
}

var errStop = fmt.Errorf("enough")

// crash ends the process and takes from the disks what was not synced; d later the machine comes back.
func (m *machine) crash(d ns) {
	p := m.process
	if p == nil || p.dead {
		m.down = max(m.down, m.w.now+d)
		return
	}
	m.w.trace.note(41, uint64(m.id), uint64(d))
	m.w.trace.line("node %d crashes, for %dms", m.id, d/ms)
	m.w.hist.counts["crash"]++
	p.kill()
	m.powerLoss(p)
	m.disk.stall = 0
	m.down = m.w.now + d
	m.restartLater(d)
}

func (m *machine) restartLater(d ns) {
	m.w.after(d, func() {
		switch {
		case m.dead || m.process != nil && !m.process.dead:
		case m.w.now < m.down:
			m.restartLater(m.down - m.w.now)
		default:
			m.start()
		}
	})
}

// powerLoss leaves on the disks what a crash leaves. A write to the log that is under way may
// be there in part, or be synced and never answered.
func (m *machine) powerLoss(p *process) {
	if p.log.busy && len(p.log.batch) > 0 && p.log.log != nil && m.w.chance(0.8) {
		m.logFS = torn(m.logFS, m.w.rng.IntN(12), func() { _, _ = p.log.write() })
	}
	m.logFS.Crash(m.w.rng, wal.CrashModes[m.w.rng.IntN(len(wal.CrashModes))])
	m.engineFS = mvcc.CrashClone(m.engineFS)
	p.abandon()
}

// torn runs do and returns the filesystem as it was after so many of its changes.
func torn(fs *wal.MemFS, changes int, do func()) *wal.MemFS {
	var clone *wal.MemFS
	fs.OnOp = func(wal.Op) {
		if changes--; changes < 0 && clone == nil {
			clone = fs.Clone()
		}
	}
	do()
	fs.OnOp = nil
	if clone == nil {
		return fs
	}
	return clone
}

// alive is the running process, nil if there is none.
func (m *machine) alive() *process {
	if m.process == nil || m.process.dead {
		return nil
	}
	return m.process
}
