package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kvd-db/kvd/kv"
)

// TestScripts runs the scripts in testdata. A cluster is written as lines:
//
//	node ID [LOCALITY] [replicas=N] [leaders=N] [suspected|dead|replaced|draining|reluctant]
//	part ID want=N leader=NODE [busy] [damaged=REPLICA] replicas=REPLICA@NODE[L],...
//
// and asked by
//
//	choose n=N [existing=(NODE,...)]    place count=N voters=N    plan [repairs=N] [moves=N] [drains=N]
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			v := parseView(t, d)
			switch d.Cmd {
			case "choose":
				var existing []kv.NodeID
				for _, a := range d.CmdArgs {
					if a.Key == "existing" {
						for _, x := range a.Vals {
							existing = append(existing, kv.NodeID(number(t, x)))
						}
					}
				}
				return fmt.Sprintln(Choose(candidatesOf(v), existing, argument(t, d, "n", 3)))
			case "place":
				var b strings.Builder
				for _, p := range Place(candidatesOf(v), argument(t, d, "count", 1), argument(t, d, "voters", 3)) {
					fmt.Fprintln(&b, p)
				}
				return b.String()
			case "plan":
				v.RepairsMax, v.LeaderMovesMax, v.DrainMovesMax = argument(t, d, "repairs", 4), argument(t, d, "moves", 1), argument(t, d, "drains", 4)
				var b strings.Builder
				for _, o := range Plan(v) {
					fmt.Fprintln(&b, o)
				}
				return b.String()
			}
			t.Fatalf("%s: what is %q?", d.Pos, d.Cmd)
			return ""
		})
	})
}

func candidatesOf(v *View) (all []Candidate) {
	for _, n := range v.Nodes {
		all = append(all, n.Candidate)
	}
	return all
}

func argument(t *testing.T, d *datadriven.TestData, key string, value int) int {
	d.MaybeScanArgs(t, key, &value)
	return value
}

func number(t *testing.T, s string) (n uint64) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return n
}

func parseView(t *testing.T, d *datadriven.TestData) *View {
	v := &View{}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		switch f[0] {
		case "node":
			v.Nodes = append(v.Nodes, parseNode(t, f[1:]))
		case "part":
			v.Partitions = append(v.Partitions, parsePartition(t, f[1:]))
		}
	}
	return v
}

func parseNode(t *testing.T, f []string) Node {
	n := Node{Candidate: Candidate{Node: kv.NodeID(number(t, f[0]))}, Liveness: kv.NodeLive}
	for _, x := range f[1:] {
		key, value, _ := strings.Cut(x, "=")
		switch key {
		case "replicas":
			n.Replicas = int(number(t, value))
		case "leaders":
			n.Leaders = int(number(t, value))
		case "suspected":
			n.Liveness = kv.NodeSuspected
		case "dead":
			n.Liveness = kv.NodeDead
		case "replaced":
			n.Replaced = true
		case "draining":
			n.Draining = true
		case "reluctant":
			n.Reluctant = true
		default:
			n.Locality = x
		}
	}
	return n
}

func parsePartition(t *testing.T, f []string) Partition {
	p := Partition{Descriptor: &kv.Descriptor{Partition: kv.PartitionID(number(t, f[0])), Generation: 1}}
	for _, x := range f[1:] {
		key, value, _ := strings.Cut(x, "=")
		switch key {
		case "want":
			p.Want = int(number(t, value))
		case "leader":
			p.Leader = kv.NodeID(number(t, value))
		case "busy":
			p.Busy = true
		case "damaged":
			p.Damaged = append(p.Damaged, kv.ReplicaID(number(t, value)))
		case "replicas":
			for r := range strings.SplitSeq(value, ",") {
				id, node, _ := strings.Cut(r, "@")
				node, learner := strings.CutSuffix(node, "L")
				role := kv.RoleVoter
				if learner {
					role = kv.RoleLearner
				}
				p.Descriptor.Replicas = append(p.Descriptor.Replicas, kv.Replica{ID: kv.ReplicaID(number(t, id)), Node: kv.NodeID(number(t, node)), Role: role})
			}
		}
	}
	return p
}

// However the nodes lie, the chosen ones are different, as many as there are, and in as many
// domains as there are; and the order in which the nodes are named does not matter.
func TestChooseSpreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var nodes []Candidate
		for i := range 1 + rng.IntN(12) {
			c := Candidate{Node: kv.NodeID(i + 1), Replicas: rng.IntN(5)}
			if rng.IntN(8) != 0 {
				c.Locality = fmt.Sprintf("region=%d,zone=%d", rng.IntN(3), rng.IntN(3))
			}
			nodes = append(nodes, c)
		}
		n := 1 + rng.IntN(5)
		chosen := Choose(nodes, nil, n)
		if len(chosen) != min(n, len(nodes)) {
			t.Fatalf("chose %v of %v", chosen, nodes)
		}
		var in []Candidate
		for _, c := range nodes {
			if slices.Contains(chosen, c.Node) {
				in = append(in, c)
			}
		}
		if Domains(in) != min(len(chosen), Domains(nodes)) {
			t.Fatalf("chose %v: %d domains of %d: %v", chosen, Domains(in), Domains(nodes), nodes)
		}
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		if again := Choose(nodes, nil, n); !slices.Equal(again, chosen) {
			t.Fatalf("chose %v, and %v of the same nodes in another order", chosen, again)
		}
	}
}

// Places are spread: no two nodes differ by more than one replica or one first leader.
func TestPlaceSpreads(t *testing.T) {
	for nodes := 1; nodes <= 9; nodes++ {
		var all []Candidate
		for i := range nodes {
			all = append(all, Candidate{Node: kv.NodeID(i + 1)})
		}
		replicas, leaders := map[kv.NodeID]int{}, map[kv.NodeID]int{}
		for _, p := range Place(all, 360, Voters(3, nodes)) {
			leaders[p[0]]++
			for _, n := range p {
				replicas[n]++
			}
		}
		for what, counts := range map[string]map[kv.NodeID]int{"replicas": replicas, "leaders": leaders} {
			low, high := 1<<30, 0
			for _, c := range all {
				low, high = min(low, counts[c.Node]), max(high, counts[c.Node])
			}
			if high-low > 1 {
				t.Errorf("%d nodes: %s from %d to %d", nodes, what, low, high)
			}
		}
	}
}

// What was lost counts in no configuration beside its successor: there are never more voters
// than wanted while one of them is lost.
func TestPlanReplacesInOneStep(t *testing.T) {
	v := &View{RepairsMax: 4, Nodes: []Node{{Liveness: kv.NodeDead}, {Liveness: kv.NodeLive}, {Liveness: kv.NodeLive}, {Liveness: kv.NodeLive}, {Liveness: kv.NodeLive}}}
	for i := range v.Nodes {
		v.Nodes[i].Node = kv.NodeID(i + 1)
	}
	voters := func(nodes ...kv.NodeID) *kv.Descriptor {
		d := &kv.Descriptor{Generation: 1}
		for i, n := range nodes {
			d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(i + 1), Node: n, Role: kv.RoleVoter})
		}
		return d
	}
	dead, damaged, missing := voters(1, 2, 3), voters(2, 3, 4), voters(2, 3)
	dead.Partition, damaged.Partition, missing.Partition = 2, 3, 4
	v.Partitions = []Partition{
		{Descriptor: dead, Leader: 2, Want: 3}, {Descriptor: damaged, Leader: 2, Want: 3, Damaged: []kv.ReplicaID{3}}, {Descriptor: missing, Leader: 2, Want: 3},
	}
	var got []string
	for _, o := range Plan(v) {
		got = append(got, fmt.Sprintf("p%d: %v, old %d, new %d", o.Partition, o.Kind, o.Old, o.Node))
	}
	slices.Sort(got)
	want := []string{"p2: replace replica, old 1, new 4", "p3: replace replica, old 4, new 5", "p4: add replica, old 0, new 4"}
	if !slices.Equal(got, want) {
		t.Errorf("the plan is %q, want %q", got, want)
	}
}

func TestVoters(t *testing.T) {
	for _, c := range [][3]int{{3, 0, 0}, {3, 1, 1}, {3, 2, 1}, {3, 3, 3}, {3, 9, 3}, {5, 4, 3}, {5, 5, 5}} {
		if got := Voters(c[0], c[1]); got != c[2] {
			t.Errorf("%d wanted, %d nodes: %d voters, want %d", c[0], c[1], got, c[2])
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	v := &View{RepairsMax: 4, LeaderMovesMax: 1, DrainMovesMax: 32}
	for i := range 30 {
		v.Nodes = append(v.Nodes, Node{Candidate: Candidate{Node: kv.NodeID(i + 1), Locality: fmt.Sprintf("zone=%d", i%3), Leaders: 333}, Liveness: kv.NodeLive})
	}
	v.Nodes[7].Liveness = kv.NodeDead
	for i := range 10_000 {
		d := &kv.Descriptor{Partition: kv.PartitionID(i + 2), Generation: 1}
		for j := range 3 {
			d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(j + 1), Node: kv.NodeID(1 + (i+j)%30), Role: kv.RoleVoter})
		}
		v.Partitions = append(v.Partitions, Partition{Descriptor: d, Leader: kv.NodeID(1 + i%30), Want: 3})
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(Plan(v)) == 0 {
			b.Fatal("nothing to do")
		}
	}
}
