package router

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// TestParticipantsOfARefusedCommit: who refused, who had acknowledged, and who had not answered.
func TestParticipantsOfARefusedCommit(t *testing.T) {
	r := routerIn(t, "")
	parts := []kv.Part{{Partition: 2}, {Partition: 3}, {Partition: 4}}
	timing := &kv.Timing{Parts: []kv.PartTiming{
		{Partition: 2, Node: 1, Elapsed: time.Second}, {Partition: 3, Node: 2, Elapsed: time.Second}, {Partition: 4},
	}}
	refused := &kv.Error{Kind: kv.Conflict, Partition: 3, Timing: timing}
	got := r.others(parts, timing, refused)
	if got[0].Err != nil || got[0].PartTiming != timing.Parts[0] || got[1].Err != refused || kv.KindOf(got[2].Err) != kv.Canceled {
		t.Errorf("%+v", got)
	}
	for _, x := range r.others(parts, timing, nil) {
		if x.Err != nil {
			t.Errorf("of a commit that has happened: %+v", x)
		}
	}
	if got := r.others(parts, nil, nil); got[0].Answered() || got[0].Err != nil || got[0].PartTiming.Partition != 2 {
		t.Errorf("of one that was not traced: %+v", got)
	}
}
