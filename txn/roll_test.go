package txn

import "testing"

func TestRollIsCompleteOnce(t *testing.T) {
	r := NewRoll(3)
	for i, want := range []bool{false, false, true} {
		if got := r.Answered(i); got != want {
			t.Fatalf("answer %d completes: %v", i, got)
		}
		if r.Answered(i) {
			t.Fatalf("a doubled answer %d completes", i)
		}
		if !r.Has(i) || r.All() != want {
			t.Fatalf("after %d: has %v, all %v", i, r.Has(i), r.All())
		}
	}
	if !NewRoll(0).All() {
		t.Fatal("nobody is missing of none")
	}
}
