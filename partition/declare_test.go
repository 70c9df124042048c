package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

func spanOf(a, b int) kv.Span {
	s := kv.Span{Start: fmt.Appendf(nil, "%03d", a)}
	if b < 1000 {
		s.End = fmt.Appendf(nil, "%03d", b)
	}
	return s
}

// What is latched covers what was read, in few spans that lie apart and in order.
func TestMergeSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var spans []kv.Span
		for range rng.IntN(60) {
			a := rng.IntN(1000)
			spans = append(spans, spanOf(a, a+1+rng.IntN(30)))
		}
		merged := mergeSpans(spans)
		if len(merged) > spansLatchedMax {
			t.Fatalf("%d spans", len(merged))
		}
		for i, m := range merged {
			if i > 0 && (len(merged[i-1].End) == 0 || string(merged[i-1].End) >= string(m.Start)) {
				t.Fatalf("%s follows %s", m, merged[i-1])
			}
		}
		for _, s := range spans {
			covered := false
			for _, m := range merged {
				covered = covered || m.ContainsSpan(s)
			}
			if !covered {
				t.Fatalf("%s is not covered by %s", s, merged)
			}
		}
	}
}

func TestDeclareNamesEachKeyOnce(t *testing.T) {
	c := newCommit(&kv.Commit{
		Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key("m")}, {Kind: kv.WriteDelete, Key: kv.Key("c")}},
		Reads:  []kv.ReadMark{{Key: kv.Key("z")}, {Key: kv.Key("m")}, {Key: kv.Key("a")}, {Key: kv.Key("z")}},
		Spans:  []kv.Span{{Start: kv.Key("b"), End: kv.Key("d")}},
	})

	if err := c.declare(); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, l := range c.guard.Latches {
		got += fmt.Sprintf("%s%d%v ", l.Span.Start, l.Mode, l.Wide)
	}
	if want := "a1false c2false m2false z1false b1true "; got != want {
		t.Fatalf("latches are %s, not %s", got, want)
	}
	if string(c.latchOf(0).Span.Start) != "m" || string(c.latchOf(1).Span.Start) != "c" || c.declared.blind {
		t.Fatalf("writes are latched by %v", c.declared)
	}
}

func TestDeclareBlind(t *testing.T) {
	for name, x := range map[string]struct {
		w    kv.Write
		mode txn.Mode
	}{
		"put":    {kv.Write{Kind: kv.WritePut}, txn.Blind},
		"delete": {kv.Write{Kind: kv.WriteDelete}, txn.Blind},
		"add":    {kv.Write{Kind: kv.WriteAdd}, txn.Exclusive},
		"cas":    {kv.Write{Kind: kv.WritePut, Expect: kv.Expect{Kind: kv.ExpectAbsent}}, txn.Exclusive},
	} {
		c := newCommit(&kv.Commit{Writes: []kv.Write{x.w}})
		if err := c.declare(); err != nil {
			t.Fatal(err)
		}
		if c.guard.Latches[0].Mode != x.mode || c.declared.blind != (x.mode == txn.Blind) {
			t.Errorf("%s: %+v", name, c.declared)
		}
	}
}
