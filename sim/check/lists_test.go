package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// written parses transactions, one each: "T1 done 0-9: x+1 x=1,2 y=" appends 1 to x, reads x as 1, 2, and y as empty.
func written(t *testing.T, lines ...string) []*Transaction {
	t.Helper()
	var txs []*Transaction
	for _, line := range lines {
		head, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(head)
		if !ok || len(words) != 3 {
			t.Fatalf("cannot parse %q", line)
		}
		tx := &Transaction{Name: words[0], Result: map[string]Result{"done": Done, "refused": Refused, "unknown": Unknown}[words[1]], Return: Never}
		from, to, _ := strings.Cut(words[2], "-")
		tx.Call, _ = strconv.ParseInt(from, 10, 64)
		if tx.Result != Unknown {
			tx.Return, _ = strconv.ParseInt(to, 10, 64)
		}
		for _, w := range strings.Fields(rest) {
			if key, e, ok := strings.Cut(w, "+"); ok {
				n, _ := strconv.ParseUint(e, 10, 64)
				tx.Micros = append(tx.Micros, Micro{Key: key, Append: Element(n)})
				continue
			}
			key, list, _ := strings.Cut(w, "=")
			m := Micro{Key: key}
			for _, e := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
				n, _ := strconv.ParseUint(e, 10, 64)
				m.Read = append(m.Read, Element(n))
			}
			tx.Micros = append(tx.Micros, m)
		}
		txs = append(txs, tx)
	}
	return txs
}

// checks are the names of what was found, each once, sorted.
func checks(fs []Finding) []string {
	var names []string
	for _, f := range fs {
		names = append(names, f.Check)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestListsHandWritten(t *testing.T) {
	for _, c := range []struct {
		about string
		want  string // what is found, sorted, with commas
		txs   []string
	}{
		{"nothing", "", nil},
		{"one after the other", "", []string{"A done 0-9: x= x+1 x=1", "B done 10-19: x=1 x+2 y+3", "C done 20-29: x=1,2 y=3"}},
		{"side by side, either order", "", []string{"A done 0-9: x= y+1", "B done 0-9: x+2 y=1", "C done 20-29: x=2 y=1"}},
		{"unknown and seen", "", []string{"A unknown 0-: x+1 y+2", "B done 20-29: x=1 y=2"}},
		{"unknown and seen by one that is unknown and seen", "", []string{"A unknown 0-: x+1", "B unknown 5-: x=1 y+2", "C done 20-29: y=2 x=1"}},
		{"unknown and never seen", "", []string{"A unknown 0-: x+1 y+2", "B done 20-29: x= y="}},
		{"refused and never seen", "", []string{"A refused 0-9: x+1 y= z=7", "B done 20-29: x="}},
		{"unseen by itself and by those before", "", []string{"A done 0-9: x=", "B done 5-9: x= x+1", "C done 5-9: x+2"}},
		{"an instant orders nothing", "", []string{"A done 0-10: x+1", "B done 10-19: x=", "C done 10-19: x+2", "D done 30-39: x=1,2"}},

		{"own append not seen", "internal", []string{"A done 0-9: x+1 x="}},
		{"a read that is not repeatable", "internal", []string{"A done 0-9: x+1", "B done 0-9: x= x=1"}},
		{"what it appends later", "internal", []string{"A done 0-9: x=1 x+1"}},
		{"own appends in another order", "incompatible order,internal", []string{"A done 0-9: x+1 x+2 x=2,1", "B done 0-9: x=1,2"}},

		{"aborted read", "G1a", []string{"A refused 0-9: x+1", "B done 5-19: x=1"}},
		{"aborted read behind others", "G1a", []string{"A done 0-9: x+1", "B refused 0-9: y+7 x+2", "C done 10-19: x=1,2"}},
		{"dirty update", "G1a,dirty update", []string{"A refused 0-9: x+1", "B done 10-19: x=1 x+2", "C done 20-29: x=1,2"}},
		{"dirty update, blind", "G1a,dirty update", []string{"A refused 0-9: x+1", "B done 0-9: x+2", "C done 20-29: x=1,2"}},

		{"intermediate read", "G-single,G1b", []string{"A done 0-9: x+1 x+2", "B done 0-9: x=1", "C done 20-29: x=1,2"}},
		{"intermediate read and own append", "G0,G1b", []string{"A done 0-9: x+1 x+2", "B done 0-9: x=1 x+3", "C done 20-29: x=1,3,2"}},

		{"garbage", "garbage", []string{"A done 0-9: x=7"}},
		{"garbage behind others", "garbage", []string{"A done 0-9: x+1", "B done 10-19: x=1,7"}},
		{"of another key", "G-single,garbage,lost append", []string{"A done 0-9: x+1 y+2", "B done 10-19: x=1,2 y="}},

		{"duplicate", "duplicates", []string{"A done 0-9: x+1", "B done 0-9: x=1,1"}},
		{"duplicate of what was read before", "duplicates", []string{"A done 0-9: x+1", "B done 0-29: x+2", "C done 10-19: x=1", "D done 20-29: x=1,2,1"}},

		{"lost append", "G-single in real time,lost append", []string{"A done 0-9: x+1", "B done 10-19: x="}},
		{"lost update", "G-single,lost append", []string{"A done 0-9: x= x+1", "B done 0-9: x= x+2", "C done 20-29: x=2"}},

		{"two first elements", "incompatible order", []string{"A done 0-9: x+1", "B done 0-9: x+2", "C done 0-9: x=1", "D done 0-9: x=2"}},
		{"two orders", "incompatible order", []string{"A done 0-9: x+1", "B done 0-9: x+2", "C done 0-9: x=1,2", "D done 0-9: x=2,1"}},

		{"appended twice", "appended once", []string{"A done 0-9: x+1", "B done 0-9: x+1"}},
		{"appended twice by one", "appended once", []string{"A done 0-9: x+1 x+1"}},

		{"G0", "G0", []string{"A done 0-9: x+1 y+1", "B done 0-9: x+2 y+2", "C done 20-29: x=1,2 y=2,1"}},
		{"G0 of three", "G0", []string{"A done 0-9: x+1 z+1", "B done 0-9: x+2 y+2", "C done 0-9: y+3 z+3", "D done 20-29: x=1,2 y=2,3 z=3,1"}},
		{"G0 in real time", "G0 in real time", []string{"A done 0-9: x+1", "B done 20-29: x+2", "C done 30-39: x=2,1"}},
		{"G0 of two keys in real time", "G0 in real time", []string{"A done 0-9: x+1", "B done 20-29: x+2 y+2", "C done 10-29: y+3", "D done 0-5: y+4", "E done 40-49: x=1,2 y=2,3,4"}},

		{"G1c", "G1c", []string{"A done 0-9: x+1 y=2", "B done 0-9: x=1 y+2"}},
		{"G1c with ww", "G1c", []string{"A done 0-9: x+1 y=2", "B done 0-9: x+2 y+2", "C done 20-29: x=1,2"}},
		{"G1c in real time", "G1c in real time", []string{"A done 0-9: x=1", "B done 20-29: x+1"}},
		{"G1c of three in real time", "G1c in real time", []string{"A done 0-9: x=1", "B done 20-29: y+2", "C done 10-29: y=2 x+1"}},

		{"read skew", "G-single", []string{"A done 0-9: x+1 y+2", "B done 0-9: x=1 y="}},
		{"half of an unknown one", "G-single", []string{"A unknown 0-: x+1 y+2", "B done 20-29: x=1 y="}},
		{"lost update, seen", "G-single", []string{"A done 0-9: x= x+1", "B done 0-9: x= x+2", "C done 20-29: x=1,2"}},
		{"stale read", "G-single in real time", []string{"A done 0-9: x+1", "B done 10-19: x=1", "C done 20-29: x="}},
		{"stale read of another key", "G-single in real time", []string{"A done 0-9: x+1", "B done 10-19: y+2", "C done 0-99: y=2 x=", "D done 200-299: x=1 y=2"}},

		{"write skew", "G2", []string{"A done 0-9: x= y= x+1", "B done 0-9: x= y= y+2", "C done 20-29: x=1 y=2"}},
		{"write skew that nobody reads", "G2", []string{"A done 0-9: x= y+1", "B done 0-9: y= x+2"}},
		{"long fork", "G2", []string{"A done 0-9: x+1", "B done 0-9: y+2", "C done 0-9: x=1 y=", "D done 0-9: x= y=2"}},
		{"G2 in real time", "G2 in real time", []string{"A done 0-99: x= y+1", "B done 0-9: x+2", "C done 20-29: y=", "D done 100-109: x=2 y=1"}},
		{"G2 of four in real time", "G2 in real time", []string{"A done 0-99: x= u=4", "B done 0-9: x+2", "C done 20-29: y=", "D done 5-99: y+3 u+4"}},
	} {
		fs := Lists(written(t, c.txs...))
		if got := strings.Join(checks(fs), ","); got != c.want {
			t.Errorf("%s: found %q, want %q: %v", c.about, got, c.want, fs)
		}
	}
}

// TestListsTellTheStory: a finding says which transactions come before which, and why.
func TestListsTellTheStory(t *testing.T) {
	for _, c := range []struct{ txs, want []string }{
		{
			[]string{"A done 0-9: x+1 y+2", "B done 0-9: x=1 y="},
			[]string{
				"a cycle of 2 transactions", "rw B < A: B read y as empty, to which A appended 2", "wr A < B: in x, A appended 1, which B read",
				"B [0.000000s..0.000000s] committed: read x [1], read y []",
			},
		},
		{
			[]string{"A done 0-9: x+1 x+2", "B done 10-19: x=1,2 x+3", "C done 1000000000-2000000000: x=1,2", "D done 3000000000-4000000000: x=1,2,3"},
			[]string{"rw C < B: C read x up to 2, after which B appended 3", "rt B < C: B ended at 0.000000s, before C began at 1.000000s"},
		},
		{
			[]string{"A done 0-9: x+1 y+1", "B done 0-9: x+2 y+2", "C done 20-29: x=1,2 y=2,1"},
			[]string{"ww A < B: in x, A appended 1 before B appended 2", "ww B < A: in y, B appended 2 before A appended 1"},
		},
	} {
		fs := Lists(written(t, c.txs...))
		if len(fs) != 1 {
			t.Errorf("%q: %d findings: %v", c.txs, len(fs), fs)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(fs[0].Story(), w) {
				t.Errorf("the story lacks %q: %s", w, fs[0].Story())
			}
		}
	}
}

// TestListsFindTheShortest: the cycle that is told is a shortest one of the component.
func TestListsFindTheShortest(t *testing.T) {
	// A < B < C < D < A by appends to keys of their own, and C < B by two keys.
	fs := Lists(written(t,
		"A done 0-9: ab+1 da+1", "B done 0-9: ab+2 bc+2 cb+2", "C done 0-9: bc+3 cd+3 cb+3", "D done 0-9: cd+4 da+4",
		"R done 20-29: ab=1,2 bc=2,3 cd=3,4 da=4,1 cb=3,2"))
	if len(fs) != 1 || fs[0].Check != "G0" || !strings.Contains(fs[0].Text, "a cycle of 2 transactions") {
		t.Errorf("found %v, want the cycle of B and C", fs)
	}
}

// TestListsAreBounded: findings of one kind are told up to a number of times.
func TestListsAreBounded(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("A%d done 0-9: x%d= y%d+1", i, i, i), fmt.Sprintf("B%d done 0-9: y%d= x%d+1", i, i, i))
	}
	if fs := Lists(written(t, lines...)); len(fs) != findingsMax {
		t.Errorf("%d findings of 40 cycles, the bound is %d", len(fs), findingsMax)
	}
}

// TestListsAreDeterministic: the same history gives the same findings, in the same order.
func TestListsAreDeterministic(t *testing.T) {
	txs := execute(7, 400, levels["read committed"])
	first := fmt.Sprint(Lists(txs))
	for range 5 {
		if again := fmt.Sprint(Lists(txs)); again != first {
			t.Fatalf("found %s, before %s", again, first)
		}
	}
}

// TestListsByLevel: each kind of system shows what it allows, and nothing that is worse.
func TestListsByLevel(t *testing.T) {
	for _, c := range []struct {
		level  string
		must   []string
		may    []string
		allOf  bool // every seed must show what must be shown
		length int
	}{
		{"serial", nil, nil, false, 300},
		{"snapshot isolation", []string{"G2"}, nil, true, 300},
		{"parallel snapshot", []string{"G2"}, []string{"G-single in real time", "G1c in real time", "G0 in real time", "lost append"}, true, 300},
		{"read committed", []string{"G-single"}, []string{"G2"}, true, 300},
		{"stale reads", []string{"G-single in real time"}, []string{"G2 in real time"}, true, 300},
		{"dirty reads", []string{"G1a", "G1b", "dirty update", "G0"}, []string{"G1c", "G-single", "G2"}, false, 300},
	} {
		shown := map[string]int{}
		const seeds = 30
		for seed := range uint64(seeds) {
			fs := Lists(execute(seed, c.length, levels[c.level]))
			for _, name := range checks(fs) {
				shown[name]++
				if !slices.Contains(c.must, name) && !slices.Contains(c.may, name) {
					t.Fatalf("%s, seed %d: found %q: %v", c.level, seed, name, fs)
				}
			}
		}
		for _, name := range c.must {
			if n := shown[name]; n == 0 || c.allOf && n < seeds {
				t.Errorf("%s: %q was found in %d of %d seeds: %v", c.level, name, n, seeds, shown)
			}
		}
	}
}

// TestListsNeverBlameTheSerial: executions that are right are right, of any length and with any number of keys.
func TestListsNeverBlameTheSerial(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		if fs := Lists(execute(seed, 1+rng.IntN(500), levels["serial"])); len(fs) > 0 {
			t.Fatalf("seed %d: %v", seed, fs)
		}
	}
}

func BenchmarkLists(b *testing.B) {
	for _, level := range []string{"serial", "snapshot isolation", "read committed", "stale reads"} {
		for _, n := range []int{10_000, 100_000} {
			txs := execute(1, n, levels[level])
			b.Run(fmt.Sprintf("%s/%d", level, n), func(b *testing.B) {
				for b.Loop() {
					Lists(txs)
				}
			})
		}
		// Many clients on the same keys all the time: what is wrong is in few components, which are large.
		b.Run(level+"/100000/same keys", func(b *testing.B) {
			txs := executeOver(1, 100_000, levels[level], 300, 4000, 1_000_000)
			for b.Loop() {
				Lists(txs)
			}
		})
	}
}
