package sim

import (
	"testing"
	"time"
)

// regressions are runs that found something once. A seed is the same run only as long as the code
// around it stays the same, so each also says what it was about.
var regressions = []struct {
	about    string
	scenario string
	nodes    int
	loops    int
	seed     uint64
	duration time.Duration
}{
	{"a node that has no replica of the system partition must find the oracle", "general", 4, 0, 1, 6 * time.Second},
	{"a cluster of two nodes has nodes without the system partition, too", "general", 2, 0, 1, 6 * time.Second},
	{"a damaged replica of the system partition is replaced like all others, and the engine is not flushed for ever because of it", "bitrot", 0, 0, 12, 8 * time.Second},
	{"the leader of the system partition changes its own replicas", "bitrot", 0, 0, 7, 8 * time.Second},
	{"a scan goes on at a timestamp that the next leader has not heard of", "transactions", 0, 0, 5, 5 * time.Second},
	{"a replica that was destroyed twice between two flushes is forgotten once", "moving", 0, 1, 2, 60 * time.Second},
	{"draws whose askers have given up do not pile up while the oracle cannot be reached", "overload", 0, 0, 2, 3 * time.Second},
	{"marks of ids that were never seen take room in the window like others", "overload", 0, 0, 4, 6 * time.Second},
	{"a sum for an older leader's comparison is not taken for one of this leader's", "enginefull", 0, 0, 1, 20 * time.Second},
	{"the log keeps what it holds of a replica that was found damaged while it ran", "enginerot", 0, 0, 21, 5 * time.Second},
	{"the followers of a leader that was stopped as damaged elect another one", "enginerot", 0, 0, 8, 20 * time.Second},
	{"damage beside the keys that a snapshot replaces takes nothing with it", "enginerot", 0, 0, 39, 20 * time.Second},
	{"the first write of a cluster comes from a client that has heard of no timestamp", "hot", 0, 0, 3, 2 * time.Second},
	{"an addition that is prepared again after its resolve does not change the version that it made", "late", 0, 0, 1, 30 * time.Second},
	{"a replica that goes, comes back and goes again is forgotten by the log once", "moving", 0, 3, 2100, 10 * time.Second},
	{"what a replaced leader closes is not believed at an index from before", "deaf", 0, 0, 26113012, 0},
	{"a segment that a crash left beside the spare that it became is one spare", "crossing", 0, 0, 301130, 60 * time.Second},
	{"a turn whose effects wait for the end of a pause is not overtaken", "parallel-crossing", 0, 0, 301296, 60 * time.Second},
	{"a follower between two promises sends its sum to who asked for it", "followers", 0, 0, 990057, 60 * time.Second},
	{"both rounds of a parallel commit that come once more when all is over are refused", "parallel-late", 0, 0, 322, 6 * time.Second},
}

func TestRegressions(t *testing.T) {
	for _, x := range regressions {
		r := mustRun(t, Config{Seed: x.seed, Scenario: Find(x.scenario), Nodes: x.nodes, LoopsMax: x.loops, Duration: x.duration})
		if r.Violation != nil {
			t.Errorf("%s (%s, seed %d): %s", x.about, x.scenario, x.seed, r.Violation)
		}
	}
}
