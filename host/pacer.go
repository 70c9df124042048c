package host

import (
	"runtime"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// The pace of scans, and of the engine's flushes and compactions. Where cores are scarce such work takes from the share of the
// short requests, and what it takes shows in their latency. So it works in slices; after each it lets others go first, in this process and
// in others, and by how long that takes it sees whether anybody waits for a core. Then it takes a smaller
// share, and rests.
const (
	paceSlice    = 500 * time.Microsecond // of work, about
	paceLate     = 200 * time.Microsecond // with a core to spare it is 5 to 50; on full cores half are later
	paceWorkMax  = 4 * paceSlice          // what a slice counts for at most: it may have waited for the disk, or for a core
	paceRestMin  = 2 * time.Millisecond   // shorter rests come together: timers are no finer than 1 ms
	paceRestMax  = 50 * time.Millisecond  // at once
	paceAgeMax   = time.Second            // of a read: an older one rests no more, since somebody waits for it
	paceShareMin = 0.02                   // of a core, whatever the others need
	// paceDown and paceUp hold the share where a third of the slices find others waiting.
	paceDown = 0.7
	paceUp   = 1.2
)

// pacer is the pace of one worker. It belongs to one goroutine.
type pacer struct {
	now    func() kv.Instant
	yield  func()                   // lets others go first
	least  func(kv.Instant) float64 // of the share, at a time; nil: paceShareMin, and a read that is old rests no more
	asked  kv.Instant               // when the read came
	slept  time.Duration            // altogether
	sleep  func(time.Duration)      // about so long
	share  float64                  // of a core, from paceShareMin to 1
	worked time.Duration            // in this slice
	owed   time.Duration            // of rest; below 0 if the last one was longer
	began  kv.Instant               // when the work went on
}

func newPacer(now func() kv.Instant, sleep func(time.Duration)) *pacer {
	return &pacer{now: now, sleep: sleep, share: 1, yield: func() { runtime.Gosched(); yield() }}
}

// begin goes on, with a read that came at asked, after a time that was neither work nor rest.
func (p *pacer) begin(asked kv.Instant) { p.began, p.asked = p.now(), asked }

// working is a clock that stands still during rests.
func (p *pacer) working() kv.Instant { return p.now().Add(-p.slept) }

// breathe ends the slice if it has lasted long enough, rests if that is due, and begins another.
func (p *pacer) breathe() {
	now := p.now()
	p.worked += time.Duration(now - p.began)
	if p.began = now; p.worked < paceSlice {
		return
	}
	p.yield()
	p.began = p.now()
	if time.Duration(p.began-now) > paceLate {
		p.share = max(paceShareMin, p.share*paceDown)
	} else {
		p.share = min(1, p.share*paceUp)
	}
	share := p.share
	if p.least != nil {
		share = max(share, p.least(p.began))
	}
	p.owed = min(p.owed+time.Duration(float64(min(p.worked, paceWorkMax))*(1/share-1)), paceRestMax)
	if p.worked = 0; p.owed < paceRestMin || p.least == nil && time.Duration(now-p.asked) > paceAgeMax {
		return
	}
	p.sleep(p.owed)
	now = p.now()
	rested := time.Duration(now - p.began)
	p.slept += rested
	p.owed = max(p.owed-rested, -paceRestMin)
	p.began = now
}

// sleeper sleeps for one worker, until that is closed.
func sleeper(ended <-chan struct{}) func(time.Duration) {
	t := time.NewTimer(0)
	return func(d time.Duration) {
		t.Reset(d)
		select {
		case <-t.C:
		case <-ended:
		}
	}
}
