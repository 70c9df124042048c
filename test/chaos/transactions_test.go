package chaos

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/sim/check"
)

// TestAudit: money that is missing or made is noticed, and so is an account.
func TestAudit(t *testing.T) {
	whole := make([]int64, bankAccounts)
	for i := range whole {
		whole[i] = bankEach
	}
	moved := append([]int64{bankEach - 7, bankEach + 7}, whole[2:]...)
	for _, c := range []struct {
		name     string
		balances []int64
		good     bool
	}{
		{"at first", whole, true},
		{"after a transfer", moved, true},
		{"half of a transfer", append([]int64{bankEach - 7}, whole[1:]...), false},
		{"an account less", whole[1:], false},
		{"an account more", append([]int64{0}, whole...), false},
	} {
		x := &Transactions{crew: crew{t: t}, began: time.Now()}
		(&bank{x: x}).judge(c.balances)
		if x.broken() == c.good {
			t.Errorf("%s: %q", c.name, x.failures)
		}
	}
}

// TestMarkers: half a transaction is noticed, and an outcome that was not true.
func TestMarkers(t *testing.T) {
	for _, c := range []struct {
		f              fate
		one, two, good bool
	}{
		{happened, true, true, true},
		{happened, true, false, false},
		{happened, false, false, false},
		{didNot, false, false, true},
		{didNot, false, true, false},
		{didNot, true, true, false},
		{unknown, true, true, true},
		{unknown, false, false, true},
		{unknown, true, false, false},
	} {
		x := &Transactions{crew: crew{t: t}}
		newMarkers(x).judge("m", c.f, c.one, c.two)
		if x.broken() == c.good {
			t.Errorf("%+v: %q", c, x.failures)
		}
	}
}

// TestListHistory: what the lists note is what the checker needs to see an append that was refused.
func TestListHistory(t *testing.T) {
	for _, f := range []fate{happened, didNot} {
		l := newLists(&Transactions{began: time.Now()})
		writer, reader := l.begin("writer"), l.begin("reader")
		writer.Micros = []check.Micro{{Key: "a", Read: nil}, {Key: "a", Append: 1}}
		list, err := parseList("1")
		if err != nil {
			t.Fatal(err)
		}
		reader.Micros = []check.Micro{{Key: "a", Read: list}}
		l.end(writer, f)
		l.end(reader, happened)
		if found := check.Lists(l.history); (len(found) == 0) != (f == happened) {
			t.Errorf("fate %d: %v", f, found)
		}
	}
}

func TestParseList(t *testing.T) {
	if list, err := parseList("3,12"); err != nil || len(list) != 2 || list[0] != 3 || list[1] != 12 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := parseList(""); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for _, bad := range []string{",", "1,", "x", "0", "1 2"} {
		if _, err := parseList(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
