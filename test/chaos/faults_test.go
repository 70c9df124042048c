package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/test/cluster"
)

// work is a load that a soak makes faults under.
type work interface {
	Await(n int64)
	broken() bool
}

// soak makes faults at random, and remembers which.
type soak struct {
	t        *testing.T
	cluster  *cluster.Cluster
	load     work
	rng      *rand.Rand
	began    time.Time
	schedule []string
	counts   map[string]int
}

// fault is one thing that goes wrong. begin returns what ends it, nil if it is over by then.
type fault struct {
	name  string
	whole bool // it needs a cluster that is healthy
	begin func(s *soak, n *cluster.Node) (end func())
}

// processFaults are what may happen to processes.
var processFaults = []fault{
	{"kill", false, (*soak).kill},
	{"kill", false, (*soak).kill}, // twice as often
	{"kill all", false, (*soak).killAll},
	{"pause", false, (*soak).pause},
	{"pause", false, (*soak).pause},
	{"stop", true, (*soak).drain},
	{"wipe", true, (*soak).wipe},
	{"move leaders", false, (*soak).moveLeaders},
}

// networkFaults are what may happen to the network.
var networkFaults = []fault{
	{"cut one way", false, func(s *soak, n *cluster.Node) func() { return s.cut(way(n.Index, s.others(n)[0])) }},
	{"cut both ways", false, func(s *soak, n *cluster.Node) func() {
		o := s.others(n)[0]
		return s.cut(way(n.Index, o), way(o, n.Index))
	}},
	{"nobody hears", false, func(s *soak, n *cluster.Node) func() {
		o := s.others(n)
		return s.cut(way(n.Index, o[0]), way(n.Index, o[1]))
	}},
	{"hears nobody", false, func(s *soak, n *cluster.Node) func() {
		o := s.others(n)
		return s.cut(way(o[0], n.Index), way(o[1], n.Index))
	}},
	{"isolate", false, func(s *soak, n *cluster.Node) func() {
		o := s.others(n)
		return s.cut(way(n.Index, o[0]), way(n.Index, o[1]), way(o[0], n.Index), way(o[1], n.Index))
	}},
	{"lose answers", false, func(s *soak, n *cluster.Node) func() { return s.cut(way(n.Index, cluster.Clients)) }},
	{"lose all answers", false, func(s *soak, _ *cluster.Node) func() {
		return s.cut(way(0, cluster.Clients), way(1, cluster.Clients), way(2, cluster.Clients))
	}},
	{"hold requests", false, func(s *soak, n *cluster.Node) func() { return s.cut(way(cluster.Clients, n.Index)) }},
}

func way(from, to int) cluster.Way { return cluster.Way{From: from, To: to} }

// others are the indices of the two other nodes, in random order.
func (s *soak) others(n *cluster.Node) []int {
	var list []int
	for _, o := range s.cluster.Nodes {
		if o != n {
			list = append(list, o.Index)
		}
	}
	s.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// Between two rounds the load must get on by 1 to progressMax transactions; a fault is held
// for holdMax at most.
const (
	progressMax = 300
	holdMax     = 3 * time.Second
)

// run makes faults until the time is over or a promise is broken.
func (s *soak) run(d time.Duration, kinds ...[]fault) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !s.load.broken(); {
		faults, whole := s.choose(kinds)
		if whole || s.rng.IntN(2) == 0 {
			s.cluster.WaitHealthy(s.t)
		}
		var ends []func()
		for _, f := range faults {
			n := s.cluster.Nodes[s.rng.IntN(len(s.cluster.Nodes))]
			s.say("%s, node %d (%d)", f.name, n.Index, n.ID)
			s.counts[f.name]++
			ends = append(ends, f.begin(s, n))
		}
		s.hold(time.Duration(s.rng.Int64N(int64(holdMax))))
		for _, end := range ends {
			if end != nil {
				end()
			}
		}
		s.load.Await(1 + s.rng.Int64N(progressMax))
	}
}

// choose takes one fault, or one of each of two kinds. whole: they need a healthy cluster, and come alone.
func (s *soak) choose(kinds [][]fault) (faults []fault, whole bool) {
	first := s.rng.IntN(len(kinds))
	for _, k := range [][]fault{kinds[first], kinds[len(kinds)-1-first]} {
		f := k[s.rng.IntN(len(k))]
		switch {
		case f.whole && len(faults) == 0:
			return []fault{f}, true
		case len(faults) == 0 || !f.whole && s.rng.IntN(3) == 0:
			faults = append(faults, f)
		}
	}
	return faults, false
}

// hold lets time go by, unless a promise is broken.
func (s *soak) hold(d time.Duration) {
	const lookEvery = 50 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end) && !s.load.broken(); {
		time.Sleep(min(lookEvery, time.Until(end)))
	}
}

// say notes a line of the schedule.
func (s *soak) say(format string, args ...any) {
	line := fmt.Sprintf("%8.3fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	s.schedule = append(s.schedule, line)
	s.t.Log(line)
}

func (s *soak) kill(n *cluster.Node) func() {
	n.Kill(s.t)
	return func() { n.Restart(s.t) }
}

func (s *soak) killAll(*cluster.Node) func() {
	s.cluster.KillAll(s.t)
	return func() { s.cluster.Restart(s.t) }
}

func (s *soak) pause(n *cluster.Node) func() {
	n.Pause(s.t)
	return func() { n.Continue(s.t) }
}

func (s *soak) drain(n *cluster.Node) func() {
	if code := n.Stop(s.t); code != 0 {
		s.t.Errorf("node %d ended with exit code %d after SIGTERM:\n%s", n.ID, code, n.LogTail())
	}
	return func() { n.Restart(s.t) }
}

func (s *soak) wipe(n *cluster.Node) func() {
	was := n.ID
	n.Kill(s.t)
	n.Wipe(s.t)
	n.Restart(s.t)
	s.cluster.Eventually(s.t, "replicas on the new node in place of the old one's", func() error { return replaced(s.t, s.cluster, was) })
	return nil
}

// moveLeaders moves leaders about while the load runs.
func (s *soak) moveLeaders(n *cluster.Node) func() {
	all, err := s.cluster.Partitions(s.t)
	if err != nil {
		s.say("the partitions are not to be had: %v", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	for _, p := range all {
		if s.rng.IntN(2) == 0 {
			_ = s.cluster.CLI(s.t, "--timeout", "2s", "move-leader", "--to", fmt.Sprint(n.ID), fmt.Sprint(p.ID)) // it may lead already, or not be able to
		}
	}
	return nil
}

func (s *soak) cut(ways ...cluster.Way) func() {
	s.say("          %v", ways)
	s.cluster.Network.Cut(ways...)
	return func() { s.cluster.Network.Heal(ways...) }
}
