package sim

import (
	"slices"
	"testing"
	"time"
)

// smoke is a few seconds of each kind of bad world: what every change should pass before
// anybody looks at it.
var smoke = []struct {
	scenario string
	seeds    []uint64
	duration time.Duration
	nodes    int
}{
	{"general", []uint64{1, 2}, 6 * time.Second, 0},
	{"moving", []uint64{1}, 6 * time.Second, 0},
	{"quorum", []uint64{1}, 4 * time.Second, 0},
	{"storage", []uint64{1, 2}, 5 * time.Second, 0},
	{"bitrot", []uint64{2}, 8 * time.Second, 0},
	{"transactions", []uint64{1, 2}, 5 * time.Second, 0},
	{"window", []uint64{1}, 5 * time.Second, 0},
	{"hot", []uint64{1}, 5 * time.Second, 0},
	{"overload", []uint64{1, 2}, 4 * time.Second, 0},
	{"ahead", []uint64{1}, 4 * time.Second, 0},
	{"stalegrants", []uint64{1}, 5 * time.Second, 0},
	{"enginefull", []uint64{1, 2}, 6 * time.Second, 0},
	{"enginefault", []uint64{1}, 6 * time.Second, 0},
	{"enginerot", []uint64{3}, 8 * time.Second, 0},
	{"rejoin", []uint64{1}, 8 * time.Second, 0},
	{"carried", []uint64{1}, 11 * time.Second, 0},
	{"general", []uint64{1}, 4 * time.Second, 5},
	{"loops", []uint64{1, 2}, 6 * time.Second, 0},
	{"looptraps", []uint64{1}, 6 * time.Second, 0},
	{"crossing", []uint64{1, 2}, 6 * time.Second, 0},
	{"lists", []uint64{1}, 4 * time.Second, 0},
	{"transfers", []uint64{1}, 4 * time.Second, 0},
	{"skews", []uint64{1}, 4 * time.Second, 0},
	{"forks", []uint64{1}, 4 * time.Second, 0},
	{"cycles", []uint64{1}, 4 * time.Second, 0},
	{"handovers", []uint64{1}, 4 * time.Second, 0},
	{"outcomes", []uint64{1}, 4 * time.Second, 0},
	{"followers", []uint64{1, 2}, 5 * time.Second, 0},
	{"parallel-crossing", []uint64{1, 2}, 6 * time.Second, 0},
	{"parallel-mixed", []uint64{1}, 5 * time.Second, 0},
	{"parallel-terms", []uint64{1}, 5 * time.Second, 0},
	{"closing", []uint64{1}, 4 * time.Second, 0},
	{"deaf", []uint64{1}, 6 * time.Second, 0},
	{"lastwords", []uint64{1}, 6 * time.Second, 0},
	{"twice", []uint64{1}, 4 * time.Second, 0},
	{"volatile", []uint64{1}, 4 * time.Second, 0},
	{"arriving", []uint64{1}, 6 * time.Second, 0},
	{"goesback", []uint64{1}, 10 * time.Second, 0},
	{"unproved", []uint64{1}, 0, 0},
	{"lagging", []uint64{1}, 0, 0},
}

// TestSeedsTwice runs each seed twice: nothing is found, and both runs are the same run.
func TestSeedsTwice(t *testing.T) {
	for _, x := range smoke {
		for _, seed := range x.seeds {
			c := Config{Seed: seed, Scenario: Find(x.scenario), Duration: x.duration, Nodes: x.nodes}
			first := mustRun(t, c)
			if first.Violation != nil {
				t.Errorf("%s, seed %d: %s", x.scenario, seed, first.Violation)
				continue
			}
			if second := mustRun(t, c); second.Digest != first.Digest || second.Events != first.Events || second.Ops != first.Ops {
				t.Errorf("%s, seed %d: the digests of two runs are %016x and %016x", x.scenario, seed, first.Digest, second.Digest)
			}
		}
	}
}

func mustRun(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestScripts runs what is staged by hand.
func TestScripts(t *testing.T) {
	for _, name := range []string{"frame", "jointunion", "live-unheard", "live-back", "live-deaf", "live-idle", "live-loop", "live-core"} {
		if v := mustRun(t, Config{Seed: 1, Scenario: Find(name)}).Violation; v != nil {
			t.Errorf("%s: %s", name, v)
		}
	}
}

// TestWorkIsDone sees to it that a clean seed is no empty one: clients of every workload got
// answers, faults struck, and what was found consistent was not nothing.
func TestWorkIsDone(t *testing.T) {
	r := mustRun(t, Config{Seed: 3, Scenario: Find("general"), Duration: 10 * time.Second})
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
	for what, least := range map[string]int{"commit": 200, "read": 100, "scan": 50, "election": 6} {
		if r.Counts[what] < least {
			t.Errorf("%d of %q happened, expected are %d at least: %v", r.Counts[what], what, least, r.Counts)
		}
	}
	if r.Counts["keys not searched"] > 3 {
		t.Errorf("porcupine was not asked about %d keys", r.Counts["keys not searched"])
	}
}

// TestDifferentSeedsDiffer guards against a world that ignores its seed.
func TestDifferentSeedsDiffer(t *testing.T) {
	c := Config{Seed: 1, Scenario: Find("hot"), Duration: time.Second}
	a := mustRun(t, c)
	c.Seed = 2
	if b := mustRun(t, c); a.Digest == b.Digest {
		t.Fatal("two seeds give one digest")
	}
}

// TestScenariosAreWhole: names are unique, and every scenario names known workloads and traps.
func TestScenariosAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range scenarios() {
		if seen[c.Name] || c.Name == "" || c.About == "" {
			t.Errorf("scenario %q has no name of its own, or no description", c.Name)
		}
		seen[c.Name] = true
		for _, x := range c.Load.Mix {
			if workloads[x.Name] == nil {
				t.Errorf("scenario %s: workload %q is not known", c.Name, x.Name)
			}
		}
		for _, x := range c.Traps {
			if aimedTraps[x.Name] == nil && diskTraps[x.Name] == nil && !slices.Contains([]string{"xfer", "joint", "ingestfull", "late", "confirm", "twice", "stages", "terms", "murders", "promises"}, x.Name) {
				t.Errorf("scenario %s: trap %q is not known", c.Name, x.Name)
			}
		}
	}
	for _, m := range Mutants() {
		for _, name := range m.Scenarios {
			if !seen[name] {
				t.Errorf("mutant %s: scenario %q is not known", m.Mutant, name)
			}
		}
	}
}
