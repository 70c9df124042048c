package sim

// DiskFaults are what the disks of a cluster do. All times are of one operation.
type DiskFaults struct {
	SyncTime  ns // a sync takes from half to three halves of it
	ApplyMax  ns // applying a batch takes up to so long, now and then ten times that
	ReadMax   ns // each half of a read takes up to so long
	FlushTime ns

	BlockBytes int // of the engine's tables; 0: as in real life, which is much for such small stores
}

// disk is how one machine's disk behaves now.
type disk struct {
	w       *World
	faults  DiskFaults
	stall   ns   // nothing completes before
	applies ns   // nothing is applied before
	broken  bool // a sync was made to fail
}

const writeWithoutSync = 10 * us

// writeTime is how long a write to the log takes from now.
func (d *disk) writeTime(sync bool) ns {
	t := writeWithoutSync
	if sync {
		t = d.faults.SyncTime/2 + d.w.upTo(d.faults.SyncTime)
	}
	return t + max(0, d.stall-d.w.now)
}

func (d *disk) applyTime() ns {
	t := 10*us + d.w.upTo(d.faults.ApplyMax)
	if d.w.rng.IntN(50) == 0 {
		t += d.w.upTo(10 * d.faults.ApplyMax)
	}
	return t + max(0, d.applies-d.w.now)
}

func (d *disk) readTime() ns { return us + d.w.upTo(d.faults.ReadMax) }

func (d *disk) flushTime() ns {
	return d.faults.FlushTime/2 + d.w.upTo(d.faults.FlushTime) + max(0, d.stall-d.w.now)
}
