package txn

import (
	"slices"
	"testing"
)

func TestCoordinatorAndResolver(t *testing.T) {
	c, r := NewCoordinator(3), NewResolver(3)
	for name, p := range map[string]struct {
		mark    func(int) bool
		waiting func(func(int))
		all     func() bool
	}{
		"coordinator": {c.Acknowledged, c.Waiting, c.All},
		"resolver":    {r.Confirmed, r.Waiting, r.All},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []struct {
				i    int
				last bool
				left []int
			}{
				{1, false, []int{0, 2}},
				{1, false, []int{0, 2}}, // doubled
				{2, false, []int{0}},
				{0, true, nil},
				{0, false, nil}, // late: all had answered before
				{2, false, nil},
			} {
				if got := p.mark(s.i); got != s.last {
					t.Fatalf("%d was the last one: %v", s.i, got)
				}
				var left []int
				p.waiting(func(i int) { left = append(left, i) })
				if !slices.Equal(left, s.left) || p.all() != (len(s.left) == 0) {
					t.Fatalf("after %d: missing %v, all: %v", s.i, left, p.all())
				}
			}
		})
	}
	if !NewCoordinator(0).All() || !NewResolver(0).All() {
		t.Error("of nobody all have answered")
	}
}

func TestOnlyParticipantsAnswer(t *testing.T) {
	for _, i := range []int{-1, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("participant %d of 2 was taken", i)
				}
			}()
			NewCoordinator(2).Acknowledged(i)
		}()
	}
}
