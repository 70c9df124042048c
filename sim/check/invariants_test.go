package check

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// sees is a read of keys at a timestamp, given as key, value, key, value; a value of "-" is none.
func sees(at kv.Timestamp, pairs ...string) *Op {
	o := &Op{Kind: Read, Result: Done, Timestamp: at}
	for i := 0; i < len(pairs); i += 2 {
		r := Seen{Key: pairs[i]}
		if pairs[i+1] != "-" {
			r.Value, r.Version, r.Found = pairs[i+1], at, true
		}
		o.Reads = append(o.Reads, r)
	}
	return o
}

func TestBank(t *testing.T) {
	banks := [][]string{{"a", "b"}, {"c"}}
	unknown, strong := sees(9, "a", "1", "b", "1", "c", "1"), sees(9, "a", "1", "b", "1", "c", "1")
	unknown.Result, strong.Strong = Unknown, true
	for _, c := range []struct {
		about string
		op    *Op
		found int
	}{
		{"all of it", sees(9, "a", "60", "b", "0", "c", "40"), 0},
		{"all of it, each value another one", sees(9, "a", "60 v1", "b", "0 v2", "c", "40 v3"), 0},
		{"in another order, and more", sees(9, "c", "40", "x", "7", "b", "0", "a", "60"), 0},
		{"not opened yet", sees(9, "a", "-", "b", "-", "c", "-"), 0},
		{"one bank opened", sees(9, "a", "-", "b", "-", "c", "50"), 0},
		{"money of one bank in the other", sees(9, "a", "0", "b", "0", "c", "100"), 0},
		{"money in a bank that is not opened", sees(9, "a", "-", "b", "-", "c", "100"), 1},
		{"not all accounts", sees(9, "a", "1", "b", "2"), 0},
		{"no answer", unknown, 0},
		{"no snapshot", strong, 0},
		{"lost", sees(9, "a", "60", "b", "0", "c", "30"), 1},
		{"made", sees(9, "a", "60", "b", "10", "c", "40"), 1},
		{"half opened", sees(9, "a", "60", "b", "-", "c", "-"), 1},
		{"overdrawn", sees(9, "a", "160", "b", "-60", "c", "0"), 1},
		{"no number", sees(9, "a", "60", "b", "x", "c", "40"), 1},
	} {
		if fs := Bank(&History{Ops: []*Op{c.op}}, banks, 50); len(fs) != c.found {
			t.Errorf("%s: %d findings, not %d: %v", c.about, len(fs), c.found, fs)
		}
	}
}

func TestTwins(t *testing.T) {
	for _, c := range []struct {
		op    *Op
		found bool
	}{
		{sees(9, "a", "3", "b", "3"), false},
		{sees(9, "a", "-", "b", "-"), false},
		{sees(9, "a", "3"), false},
		{sees(9, "a", "3", "b", "4"), true},
		{sees(9, "a", "3", "b", "-"), true},
	} {
		if fs := Twins(&History{Ops: []*Op{c.op}}, [][2]string{{"x", "y"}, {"a", "b"}}); (len(fs) > 0) != c.found {
			t.Errorf("%s: %v", c.op, fs)
		}
	}
}

func TestRing(t *testing.T) {
	for _, c := range []struct {
		about  string
		values [4]string
		found  bool
	}{
		{"a ring", [4]string{"1", "2", "3", "0"}, false},
		{"another ring", [4]string{"2", "3", "1", "0"}, false},
		{"a ring, each value another one", [4]string{"1 v1", "2 v2", "3 v3", "0 v4"}, false},
		{"not made yet", [4]string{"-", "-", "-", "-"}, false},
		{"two rings", [4]string{"1", "0", "3", "2"}, true},
		{"a tail", [4]string{"1", "2", "3", "1"}, true},
		{"a ring of one", [4]string{"0", "2", "3", "1"}, true},
		{"a lost link", [4]string{"1", "2", "-", "0"}, true},
		{"out of the ring", [4]string{"1", "2", "4", "0"}, true},
	} {
		o := sees(9, "a", c.values[0], "b", c.values[1], "c", c.values[2], "d", c.values[3])
		if fs := Ring(&History{Ops: []*Op{o}}, []string{"a", "b", "c", "d"}); (len(fs) > 0) != c.found {
			t.Errorf("%s: %v", c.about, fs)
		}
	}
}

func TestPredicates(t *testing.T) {
	insert := func(key string, result Result, prefixes ...string) *Op {
		o := &Op{Kind: Commit, Result: result, Change: &Change{Writes: []kv.Write{put(key, "v")}}}
		for _, p := range prefixes {
			o.Scanned = append(o.Scanned, Scanned{Span: kv.Span{Start: kv.Key(p), End: kv.PrefixEnd([]byte(p))}})
		}
		return o
	}
	saw := insert("a2", Done, "a", "b")
	saw.Scanned[1].Rows = []Seen{{Key: "b1", Found: true}}
	for _, c := range []struct {
		about string
		ops   []*Op
		found bool
	}{
		{"one", []*Op{insert("a1", Done, "a", "b")}, false},
		{"one, and others that failed", []*Op{insert("a1", Done, "a", "b"), insert("b1", Refused, "a", "b"), insert("b2", Unknown, "a", "b")}, false},
		{"other spans", []*Op{insert("a1", Done, "a"), insert("b1", Done, "b")}, false},
		{"one saw the other", []*Op{insert("b1", Done, "a", "b"), saw}, false},
		{"into another span", []*Op{insert("a1", Done, "a"), insert("c1", Done, "a")}, false},
		{"two into one", []*Op{insert("a1", Done, "a", "b"), insert("a2", Done, "a", "b")}, true},
		{"two into two", []*Op{insert("a1", Done, "a", "b"), insert("b1", Done, "a", "b")}, true},
	} {
		if fs := Predicates(&History{Ops: c.ops}); (len(fs) > 0) != c.found {
			t.Errorf("%s: %v", c.about, fs)
		}
	}
}

func TestSideband(t *testing.T) {
	told := []Seen{{Key: "a", Value: "v", Version: 10, Found: true}}
	strong := func(o *Op) *Op {
		o.Strong = true
		return o
	}
	past := func(o *Op) *Op {
		o.Past = true
		return o
	}
	scan := func(at kv.Timestamp, rows ...Seen) *Op {
		return &Op{Kind: Scan, Result: Done, Timestamp: at, Scanned: []Scanned{{Span: kv.Span{Start: kv.Key("a"), End: kv.Key("b")}, Rows: rows}}}
	}
	for _, c := range []struct {
		about string
		op    *Op
		found bool
	}{
		{"at it", sees(10, "a", "v"), false},
		{"later, a newer one", sees(12, "a", "w"), false},
		{"another key", sees(12, "b", "-"), false},
		{"before it, by choice", past(sees(9, "a", "-")), false},
		{"by a strong read", strong(sees(10, "a", "v")), false},
		{"in a scan", scan(11, told[0]), false},
		{"a later commit", &Op{Kind: Commit, Result: Done, Timestamp: 11, Change: &Change{}}, false},
		{"a commit that failed", &Op{Kind: Commit, Result: Refused, Change: &Change{}}, false},
		{"not there", sees(12, "a", "-"), true},
		{"another value", sees(10, "a", "w"), true},
		{"not there, by choice", past(sees(10, "a", "-")), true},
		{"an older snapshot", sees(9, "a", "-"), true},
		{"an older snapshot of another key", sees(9, "b", "x"), true},
		{"older, by a strong read", strong(sees(9, "a", "u")), true},
		{"not in a scan", scan(11), true},
		{"an older one in a scan", scan(11, Seen{Key: "a", Value: "u", Version: 3, Found: true}), true},
		{"an earlier commit", &Op{Kind: Commit, Result: Done, Timestamp: 9, Change: &Change{}}, true},
		{"a commit at the same time", &Op{Kind: Commit, Result: Done, Timestamp: 10, Change: &Change{}}, true},
	} {
		c.op.Told = told
		if fs := Sideband(&History{Ops: []*Op{c.op}}); (len(fs) > 0) != c.found {
			t.Errorf("%s: %v", c.about, fs)
		}
	}
}

// TestInvariantsAreBounded: a check tells the first findings only.
func TestInvariantsAreBounded(t *testing.T) {
	h := &History{}
	for i := range 40 {
		o := sees(kv.Timestamp(9+i), "a", "7", "b", fmt.Sprint(i+10))
		o.Told = []Seen{{Key: "a", Version: 1000}}
		h.Ops = append(h.Ops, o)
	}
	for _, n := range []int{len(Bank(h, [][]string{{"a"}, {"b"}}, 50)), len(Ring(h, []string{"a", "b"})), len(Twins(h, [][2]string{{"a", "b"}})), len(Sideband(h))} {
		if n != findingsMax {
			t.Errorf("%d findings, the bound is %d", n, findingsMax)
		}
	}
	if fs := Bank(h, [][]string{{"a", "b"}}, 17); slices.ContainsFunc(fs, func(f Finding) bool { return f.Ops[0] == h.Ops[0] }) {
		t.Errorf("the accounts hold 17 at first: %v", fs)
	}
}
