package host

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
)

// applier brings committed entries into the engine: what was queued while it worked is one
// batch. It also flushes the engine when the log is to be cut.
type applier struct {
	engine  *mvcc.Engine
	work    *queue[*node.Apply]
	applied func([]*node.Apply)
	flushed func([]node.Flushed)
	full    func(bool) // to the node: the engine finds no space, or does again
	fail    func(error)
	logger  hclog.Logger
	metrics *applyMetrics

	collects  *queue[*node.CollectTask] // old versions to be deleted, a bounded step each
	collected func(*node.CollectTask)

	waits  atomic.Bool   // for space, and the node knows it
	wanted chan struct{} // a flush is asked for; has room for one
	end    chan struct{}
	group  sync.WaitGroup
}

func startApplier(a *applier) {
	a.work, a.wanted, a.end = newQueue[*node.Apply](), make(chan struct{}, 1), make(chan struct{})
	a.collects = newQueue[*node.CollectTask]()
	a.group.Go(a.run)
	a.group.Go(a.flusher)
	a.group.Go(a.collector)
}

// close applies what is queued and ends.
func (a *applier) close() {
	a.work.close()
	a.collects.close()
	close(a.end) // also ends a wait for space
	a.group.Wait()
}

func (a *applier) run() {
	for {
		work, ok := a.work.take(nil)
		if !ok {
			return
		}
		begun := time.Now()
		if err := node.RunApplies(a.engine, work, a.wait); err != nil {
			if a.ended() {
				return // the log has it all; the next start applies it
			}
			a.fail(err)
			return
		}
		if a.waits.Swap(false) {
			a.logger.Info("there is space on the disk of the engine again")
			a.full(false)
		}
		a.metrics.ran(len(work), time.Since(begun))
		a.applied(work)
	}
}

// wait is how the applier meets a full disk: it tries again until there is space or the end.
func (a *applier) wait(err error) bool {
	if !a.waits.Swap(true) {
		a.logger.Error("the disk of the engine is full: this node gives its leaderships away and refuses writes until there is space", "error", err)
		a.full(true)
	}
	select {
	case <-a.end:
		return false
	case <-time.After(fullRetry):
		return true
	}
}

func (a *applier) ended() bool {
	select {
	case <-a.end:
		return true
	default:
		return false
	}
}

// collector deletes old versions, one bounded step after the other, with pauses so that it
// never takes more than half of a core.
func (a *applier) collector() {
	for {
		tasks, ok := a.collects.take(nil)
		if !ok {
			return
		}
		for _, t := range tasks {
			begun := time.Now()
			t.Run(a.engine)
			a.collected(t)
			select {
			case <-a.end:
				return
			case <-time.After(time.Since(begun)):
			}
		}
	}
}

// flush asks for a flush of the engine, in the background.
func (a *applier) flush() {
	select {
	case a.wanted <- struct{}{}:
	default:
	}
}

// flusher flushes when asked to, and tells the node how far the log may be cut, also after
// flushes that the engine made by itself.
func (a *applier) flusher() {
	const lookEvery = time.Second
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	known, sick := int64(-1), spell{logger: a.logger}
	for {
		asked := false
		select {
		case <-a.end:
			return
		case <-a.wanted:
			asked = true
			if err := a.engine.Flush(); err != nil && kv.KindOf(err) != kv.DiskFull { // of that the spell tells
				a.logger.Error("flushing the engine", "error", err)
			}
		case <-tick.C:
		}
		if !a.usable() {
			return
		}
		sick.look(time.Now(), a.engine.Health())
		if n := a.engine.Metrics().Flushes; asked || n != known {
			known = n
			a.tell()
		}
	}
}

func (a *applier) tell() {
	var list []node.Flushed
	err := a.engine.FlushedReplicaStates(func(p kv.PartitionID, applied kv.LogIndex, _ kv.Term) {
		list = append(list, node.Flushed{Partition: p, Applied: applied})
	})
	if err != nil {
		a.fail(err) // what the engine cannot say of all replicas it cannot say of any
		return
	}
	a.flushed(list)
}

// usable ends the node if the engine's disk failed: what it says of later writes cannot be trusted
// (rule 57). A full disk passes, and damage concerns the replicas that have it.
func (a *applier) usable() bool {
	err := a.engine.FlushFailed()
	switch kv.KindOf(err) {
	case 0, kv.DiskFull, kv.Corruption:
		return true
	}
	a.fail(err)
	return false
}

// spell tells what the engine suffers from, once for each ailment, and once when it is over. One
// that comes and goes with every try is one spell.
type spell struct {
	logger hclog.Logger
	kind   kv.Kind // 0 = it is well
	seen   time.Time
}

// spellOver is how long nothing may be wrong before a spell is over.
const spellOver = 5 * time.Second

func (s *spell) look(now time.Time, err error) {
	switch kind := kv.KindOf(err); {
	case err == nil && s.kind != 0 && now.Sub(s.seen) >= spellOver:
		s.logger.Info("the engine is well again", "was", s.kind)
		s.kind = 0
	case err != nil:
		if s.seen = now; kind != s.kind {
			s.kind = kind
			s.logger.Error("the engine is not well", "error", err)
		}
	}
}
