package core

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// holder is a cluster with somebody who holds a timestamp.
type holder struct {
	*fakeCluster
	at     kv.Timestamp // 0 = nothing is held
	oldest kv.Timestamp // as last answered
	asked  RequestID    // under way; 0 = nothing
	mute   bool         // nothing that is proposed is committed
}

func newHolder(t *testing.T, opts Options) *holder {
	h := &holder{fakeCluster: newFakeCluster(t, opts)}
	h.found(3, 3, func(int) string { return "" })
	h.live(10 * time.Second)
	return h
}

// live lets time pass; what is held is renewed every five seconds, as clients do.
func (h *holder) live(d time.Duration) {
	for i := range int(d / (50 * time.Millisecond)) {
		if h.mute {
			h.queue = nil
		}
		h.step()
		h.trace = nil
		if r, ok := h.replies[h.asked]; ok && h.asked != 0 {
			if h.asked = 0; r.err == nil {
				h.oldest = r.resp.Hold.Oldest
			}
		}
		if i%100 == 0 && h.at != 0 && h.asked == 0 {
			h.asked = h.admin(&kv.AdminRequest{Hold: &kv.Hold{Timestamp: h.at}})
		}
	}
}

// age is how far the ceiling that node 1 was told last is behind the bound.
func (h *holder) age() time.Duration {
	return time.Duration(h.m.Bound().UnixMillis()-h.retained[1].Ceiling.UnixMillis()) * time.Millisecond
}

func (h *holder) ago(d time.Duration) kv.Timestamp { return later(h.m.Bound(), -d) }

func TestHoldsKeepTheCeilingDown(t *testing.T) {
	h := newHolder(t, Options{})
	if age := h.age(); age < holdSlack || age > holdSlack+5*time.Second {
		t.Errorf("with nothing held the ceiling is %v behind", age)
	}
	h.at = h.ago(5 * time.Minute)
	h.live(12 * time.Minute)
	if c := h.retained[1].Ceiling; c != h.at || h.oldest > h.at || h.oldest == 0 {
		t.Errorf("while %v is held the ceiling is %v; answered %v", h.at, c, h.oldest)
	}
	s := h.m.status()
	if s.Held != h.at || s.HeldUntil > h.ago(-holdLapse) || s.HeldUntil < h.ago(10*time.Second-holdLapse) {
		t.Errorf("at %v the status says that %v is held until %v", h.m.Bound(), s.Held, s.HeldUntil)
	}
	held, until := h.at, s.HeldUntil
	h.at = 0
	h.live(holdLapse - 10*time.Second)
	if s := h.m.status(); h.retained[1].Ceiling != held || s.Held != held || s.HeldUntil != until {
		t.Errorf("the hold lapses too soon: the ceiling is %v, not %v; the status says that %v is held until %v", h.retained[1].Ceiling, held, s.Held, s.HeldUntil)
	}
	h.live(20 * time.Second)
	if s := h.m.status(); h.age() > holdSlack+5*time.Second || s.Held != 0 || s.HeldUntil != 0 || h.m.Bound() <= until {
		t.Errorf("after it has lapsed, at %v, the ceiling is %v behind, %v is held until %v", h.m.Bound(), h.age(), s.Held, s.HeldUntil)
	}
	h.at = held
	h.live(10 * time.Second)
	if h.oldest <= held || h.oldest > h.retained[1].Ceiling {
		t.Errorf("what may be collected already is held: answered %v, the ceiling is %v", h.oldest, h.retained[1].Ceiling)
	}
}

// TestHoldsSurviveTheCoresLeader: a new leader lets nothing go before it has heard who holds what.
//
// Shows J4.
func TestHoldsSurviveTheCoresLeader(t *testing.T) {
	for name, renewed := range map[string]bool{"renewed": true, "given up": false} {
		h := newHolder(t, Options{})
		h.at = h.ago(0)
		h.live(15 * time.Minute)
		held := h.at
		for range 3 {
			h.asked = 0
			h.elect()
			if !renewed {
				h.at = 0
			}
			h.live(holdLapse - 20*time.Second)
			if c := h.retained[1].Ceiling; c != 0 {
				t.Errorf("%s: a new leader says %v at once", name, c)
			}
		}
		h.live(time.Minute)
		if c := h.retained[1].Ceiling; renewed && c != held || !renewed && c <= held {
			t.Errorf("%s: the ceiling is %v, held was %v", name, c, held)
		}
	}
}

func TestHoldsEndAtTheLimit(t *testing.T) {
	h := newHolder(t, Options{HoldMax: 20 * time.Minute})
	h.at = h.ago(0)
	h.live(19 * time.Minute)
	if c := h.retained[1].Ceiling; c != h.at {
		t.Errorf("before the limit the ceiling is %v, not %v", c, h.at)
	}
	h.live(6 * time.Minute)
	if age := h.age(); age < 20*time.Minute || age > 21*time.Minute || h.oldest <= h.at {
		t.Errorf("after the limit the ceiling is %v behind, answered %v for %v", age, h.oldest, h.at)
	}
}

// TestHoldsOfADeposedLeader: a leader that commits nothing any more answers nobody, and lets nothing lapse.
func TestHoldsOfADeposedLeader(t *testing.T) {
	h := newHolder(t, Options{})
	h.at = h.ago(0)
	h.live(15 * time.Minute)
	held := h.at
	h.live(time.Second) // the answer to the newest renewal
	h.mute, h.at = true, 0
	h.live(20 * time.Minute)
	if c := h.retained[1].Ceiling; c != held {
		t.Errorf("without a log the ceiling moves from %v to %v", held, c)
	}
	id := h.admin(&kv.AdminRequest{Hold: &kv.Hold{Timestamp: held}})
	h.live(time.Minute)
	if r, ok := h.replies[id]; ok {
		t.Errorf("without a log a hold is answered: %+v", r)
	}
	h.m.Cancel(id)
	if r := h.replies[id]; kv.KindOf(r.err) != kv.Timeout || !strings.Contains(r.err.Message, "log") {
		t.Errorf("given up: %+v", r)
	}
	for range 3 * AdminWaitingMax { // clients that try in vain
		h.m.Cancel(h.admin(&kv.AdminRequest{Hold: &kv.Hold{Timestamp: held}}))
	}
	if n := len(h.m.lead.holds.waiting); n > AdminWaitingMax {
		t.Errorf("%d requests that nobody waits for are kept", n)
	}
	h.m.Unlead()
}

func TestHoldsAreFew(t *testing.T) {
	var h holds
	for i := range 100_000 {
		now := kv.MakeTimestamp(int64(i/10)*1500, 0)
		h.add(now, now+kv.Timestamp(i*7%10))
		h.lowest(now)
	}
	if n := len(h.open); n > int(holdLapse/(1500*time.Millisecond))+2 {
		t.Errorf("%d holds are kept", n)
	}
}

func TestHoldRefuses(t *testing.T) {
	h := newHolder(t, Options{})
	for at, kind := range map[kv.Timestamp]kv.Kind{0: kv.Invalid, h.m.Bound() + 1: kv.Future} {
		if r := h.replies[h.admin(&kv.AdminRequest{Hold: &kv.Hold{Timestamp: at}})]; kv.KindOf(r.err) != kind {
			t.Errorf("a hold of %v: %+v", at, r)
		}
	}
}

func TestRetentionOfKeyspaces(t *testing.T) {
	h := newHolder(t, Options{})
	ask := func(req *kv.AdminRequest) error {
		id := h.admin(req)
		h.live(time.Second)
		if r := h.replies[id]; r.err != nil {
			return r.err
		}
		return nil
	}
	create := func(name string, d time.Duration) error {
		return ask(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: name, Scheme: kv.SchemeRange, Retention: d}})
	}
	set := func(name string, d time.Duration) error {
		return ask(&kv.AdminRequest{SetKeyspace: &kv.SetKeyspace{Name: name, Retention: d}})
	}
	for _, bad := range []time.Duration{-time.Hour, time.Nanosecond, kv.RetentionMin - 1, kv.RetentionMax + 1} {
		if err := create("bad", bad); kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), "retention of "+bad.String()) {
			t.Errorf("created with %v: %v", bad, err)
		}
		if err := set(DefaultKeyspace, bad); kv.KindOf(err) != kv.Invalid {
			t.Errorf("set to %v: %v", bad, err)
		}
	}
	if err := set("none", time.Hour); kv.KindOf(err) != kv.NotFound {
		t.Errorf("set for a keyspace that is not there: %v", err)
	}
	if err := create("short", kv.RetentionMin); err != nil {
		t.Fatal(err)
	}
	if err := set(DefaultKeyspace, 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	want := []KeyspaceRetention{{1, 48 * time.Hour}, {2, kv.RetentionMin}}
	revision := h.retained[2].Revision
	if got := h.retained[2].Retentions; !slices.Equal(got, want) {
		t.Errorf("nodes are told %v", got)
	}
	if k, _ := h.m.Keyspace("short"); k.Retention != kv.RetentionMin {
		t.Errorf("keyspace %+v", k)
	}
	if err := set("short", 0); err != nil {
		t.Fatal(err)
	}
	if r := h.retained[2]; !slices.Equal(r.Retentions, want[:1]) || r.Revision <= revision {
		t.Errorf("nodes are told %+v", r)
	}
}
