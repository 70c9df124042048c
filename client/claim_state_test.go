package client

import (
	"testing"

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
