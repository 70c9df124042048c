package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// TestClaimsOfAFailedReadAreForgotten: what a claim has found is of its timestamp. If that did not become the
// view's, it must not be taken for what is there at another one: the commit validates as of the view's.
func TestClaimsOfAFailedReadAreForgotten(t *testing.T) {
	key := kv.Key("k")
	v := newView(nil, nil, 0)
	v.claims = claims{age: kv.Age{1}, hot: &hot{}, found: map[string]seen{string(key): {version: 7, found: true}}}
	if at := v.claim(t.Context(), 0, []kv.Key{key}); at != 0 {
		t.Errorf("claimed at %d; there is nothing to claim", at)
	}
	if s, ok := v.claims.look(key); ok {
		t.Errorf("version %d is still there", s.version)
	}
}

// TestHotKeysAreBounded: so many of them are claimed at once, each once, and so many remembered.
func TestHotKeysAreBounded(t *testing.T) {
	key := func(i int) kv.Key { return kv.Key(fmt.Sprint(i)) }
	var h hot
	var asked []kv.Key
	for i := range hotKeysMax {
		h.note(key(i))
		asked = append(asked, key(i), key(i))
	}
	if found := h.among(asked); len(found) != claimKeysMax || string(found[1]) != "1" {
		t.Errorf("claims %q", found)
	}
	h.note(kv.Key("one more"))
	if len(h.until) != 1 || len(h.among(asked)) != 0 {
		t.Errorf("%d are remembered, want the newest alone", len(h.until))
	}
	h.until["one more"] = time.Now().Add(-time.Second)
	if found := h.among([]kv.Key{kv.Key("one more")}); len(found) != 0 || len(h.until) != 0 {
		t.Errorf("%q after its time", found)
	}
}
