package session

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// led is partitions 4 (to g), 5 (to p) and 6, led by nodes 1, 2 and 3, with who leads the core.
func led(core kv.NodeID) *kv.Topology {
	t := topology(place(4, 1, "", "g"), place(5, 1, "g", "p"), place(6, 1, "p", ""))
	t.CoreLeader = core
	for i := range t.Partitions {
		t.Partitions[i].Leader = kv.NodeID(i + 1)
	}
	return t
}

func writes(keys ...string) (all []kv.Write) {
	for _, k := range keys {
		all = append(all, kv.Write{Kind: kv.WritePut, Key: key(k)})
	}
	return all
}

func TestMapLearnsCoreLeader(t *testing.T) {
	m := newMap()
	if m.CoreLeader() != 0 || m.Anchor(writes("a", "h")) != 0 {
		t.Error("a map that knows nothing knows who leads the core")
	}
	m.Learn("", led(2))
	if m.CoreLeader() != 2 || m.Anchor(writes("a", "q", "h")) != 2 {
		t.Errorf("node %d leads the core", m.CoreLeader())
	}
	if m.Learn("", led(0)); m.CoreLeader() != 2 {
		t.Error("a node that does not know has made the map forget")
	}
	if m.ForgetLeader(5, 2); m.Anchor(writes("a", "h")) != 0 {
		t.Error("nobody is known to lead partition 5")
	}
	if m.Learn("", led(3)); m.CoreLeader() != 3 || m.Anchor(writes("a", "h", "q")) != 2 {
		t.Errorf("node %d leads the core", m.CoreLeader())
	}
	m = newMap()
	m.Learn("", led(0))
	if m.ForgetLeader(4, 1); m.Anchor(writes("h", "a")) != 0 {
		t.Error("an unknown leader is taken for the unknown leader of the core")
	}
}

func TestAnchor(t *testing.T) {
	far := make([]string, anchorLookMax)
	for i := range far {
		far[i] = fmt.Sprintf("q%03d", i)
	}
	for _, x := range []struct {
		about string
		core  kv.NodeID
		keys  []string
		want  int
	}{
		{"nobody knows who leads the core", 0, []string{"a", "h"}, 0},
		{"the first is the best", 1, []string{"a", "h"}, 0},
		{"the second is better", 2, []string{"a", "h"}, 1},
		{"the first of several", 2, []string{"a", "q", "h", "i"}, 2},
		{"none is better", 2, []string{"q", "a"}, 0},
		{"all in one partition", 2, []string{"a", "b", "c"}, 0},
		{"all in the best one", 1, []string{"a", "b", "c"}, 0},
		{"a key that the map does not have", 2, []string{"a", "", "h"}, 2},
		{"the last one that is looked at", 2, append(far[1:len(far):len(far)], "h"), anchorLookMax - 1},
		{"one further", 2, append(far[:len(far):len(far)], "h"), 0},
	} {
		m := newMap()
		m.Learn("", led(x.core))
		all := writes(x.keys...)
		for i, k := range x.keys {
			if k == "" {
				all[i].Key = kv.MakeKey(2, nil)
			}
		}
		if got := m.Anchor(all); got != x.want {
			t.Errorf("%s: write %d, not %d", x.about, got, x.want)
		}
	}
}

// TestCoreDoubted: when a partition leaves the node that leads the core, the map is to be asked for, once.
func TestCoreDoubted(t *testing.T) {
	m := newMap()
	if m.Learn("", led(2)); m.CoreDoubted() {
		t.Error("fresh news is in doubt")
	}
	if m.LearnLeader(4, 3, 6); m.CoreDoubted() {
		t.Error("partition 4 was with another node")
	}
	m.LearnLeader(5, 2, 6) // again, in a later term
	if m.CoreDoubted() {
		t.Error("partition 5 is where it was")
	}
	m.ForgetLeader(5, 2)
	if m.LearnLeader(5, 1, 7); !m.CoreDoubted() || m.CoreDoubted() {
		t.Error("not once")
	}
	m.LearnDescriptor(place(5, 2, "g", "h")) // what is known of its leader stays
	if m.LearnLeader(5, 2, 8); m.CoreDoubted() {
		t.Error("it has come back")
	}
	m.ForgetLeader(5, 2)
	m.LearnDescriptor(place(5, 3, "g", "i"))
	if m.LearnLeader(5, 1, 9); !m.CoreDoubted() {
		t.Error("a new descriptor has made the map forget who led")
	}
	m.LearnLeader(5, 2, 10)
	m.LearnLeader(5, 1, 11)
	if m.Learn("", led(2)); m.CoreDoubted() {
		t.Error("the answer has come, and is in doubt")
	}
	m = newMap()
	m.Learn("", led(0))
	m.ForgetLeader(4, 1)
	if m.LearnLeader(4, 2, 6); m.CoreDoubted() {
		t.Error("nothing was believed")
	}
}
