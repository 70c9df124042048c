package placement

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// plainPlace is Place by its definition: one look at all nodes for each replica.
func plainPlace(nodes []Candidate, count, voters int) (placed [][]kv.NodeID) {
	load := choices(nodes)
	for range count {
		var taken [][]int
		var chosen []*choice
		for len(chosen) < min(voters, len(load)) {
			var best *choice
			for i := range load {
				if x := &load[i]; !slices.Contains(chosen, x) && (best == nil || plainBetter(x, best, taken)) {
					best = x
				}
			}
			chosen, taken = append(chosen, best), append(taken, best.place)
		}
		first := 0
		for i, x := range chosen {
			if !x.Reluctant && x.Leaders < chosen[first].Leaders {
				first = i
			}
		}
		var ids []kv.NodeID
		for i, x := range chosen {
			x.Replicas++
			if i == first {
				x.Leaders++
			}
			ids = append(ids, x.Node)
		}
		if len(ids) > 0 {
			ids[0], ids[first] = ids[first], ids[0]
		}
		placed = append(placed, ids)
	}
	return placed
}

func plainBetter(x, o *choice, taken [][]int) bool {
	if x.Reluctant != o.Reluctant {
		return o.Reluctant
	}
	shared := func(c *choice, depth int) int { return sharing(taken, c.place, min(depth, len(c.place))) }
	const whole = 99
	for _, depth := range []int{whole, 1, 2, 3, 4} {
		if d := shared(x, depth) - shared(o, depth); d != 0 {
			return d < 0
		}
	}
	return x.lighter(o) < 0
}

// The short ways that Place takes lead to the same places.
func TestPlaceIsPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		var nodes []Candidate
		for i := range rng.IntN(14) {
			c := Candidate{
				Node: kv.NodeID(i + 1), Replicas: rng.IntN(4), Leaders: rng.IntN(3), Bytes: int64(rng.IntN(3)), Reluctant: rng.IntN(4) == 0,
			}
			switch rng.IntN(4) {
			case 0:
				c.Locality = fmt.Sprintf("region=%d", rng.IntN(3))
			case 1:
				c.Locality = fmt.Sprintf("region=%d,zone=%d", rng.IntN(3), rng.IntN(3))
			case 2:
				c.Locality = fmt.Sprintf("region=%d,zone=%d,rack=%d", rng.IntN(2), rng.IntN(2), rng.IntN(3))
			}
			nodes = append(nodes, c)
		}
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		voters := 1 + rng.IntN(5)
		got, want := Place(nodes, 60, voters), plainPlace(nodes, 60, voters)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("partition %d on %v, not on %v; nodes %+v", i, got[i], want[i], nodes)
			}
		}
		if again := Place(nodes, 60, voters); !reflect.DeepEqual(got, again) {
			t.Fatal("placed differently the second time")
		}
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, locality := range []bool{true, false} {
		for _, n := range []int{3, 100, 1000} {
			b.Run(fmt.Sprintf("locality=%v/nodes=%d", locality, n), func(b *testing.B) {
				var nodes []Candidate
				for i := range n {
					c := Candidate{Node: kv.NodeID(i + 1)}
					if locality {
						c.Locality = fmt.Sprintf("region=%d,zone=%d", i%3, i%9)
					}
					nodes = append(nodes, c)
				}
				for b.Loop() {
					Place(nodes, kv.HashPartitionsMax, 3)
				}
			})
		}
	}
}
