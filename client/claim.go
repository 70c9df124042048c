package client

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// claimKeysMax is how many keys a transaction claims at most when it runs again. One that writes more does
// without.
const claimKeysMax = 16

// claims is what a transaction claims at its first read: what it will write again, if it was overtaken, or
// else those of the keys that it reads which are hot. It gets its turn among those that claim them.
type claims struct {
	age  kv.Age    // zero: it is no transaction that writes
	keys []claimed // nil: none
	hot  *hot
	// found is what was there, by full key, at the timestamp of the view. It does not change once that is known.
	found map[string]seen
}

// claimed is one key.
type claimed struct {
	keyspace string
	key      []byte
}

// written is what an attempt has written, if it is to be claimed by the next one.
func (a *attempt) written() (keys []claimed) {
	for _, s := range a.sorted() {
		for _, b := range s.writes.in(Range{}, false) {
			if keys = append(keys, claimed{s.name, b.key}); len(keys) > claimKeysMax {
				return nil
			}
		}
	}
	return keys
}

// claim claims what is to be claimed if at, the timestamp of the view, is not known yet, and returns it. asked is what
// is about to be read. If claiming does not work, the reads go without.
func (v *view) claim(ctx context.Context, at Timestamp, asked []kv.Key) Timestamp {
	c := &v.claims
	if at != 0 || c.age.IsZero() {
		return at
	}
	c.found = nil // of a claim whose read failed: its timestamp did not become the view's
	var full []kv.Key
	for _, k := range c.keys {
		ks, err := v.keyspace(ctx, k.keyspace)
		if err != nil {
			return 0
		}
		full = append(full, ks.FullKey(k.key))
	}
	if len(full) == 0 {
		full = c.hot.among(asked)
	}
	if len(full) == 0 {
		return 0
	}
	found, at, err := v.router.ReadClaimed(ctx, full, c.age, v.meter)
	if err != nil {
		return 0
	}
	c.found = make(map[string]seen, len(full))
	for i, k := range full {
		c.found[string(k)] = seenOf(found[i])
	}
	return at
}

// look is what was found at a full key that was claimed.
func (c *claims) look(full kv.Key) (seen, bool) {
	s, ok := c.found[string(full)]
	return s, ok
}

// hot is the keys at which transactions of this client that wrote them were overtaken of late: the next ones claim
// them at once.
type hot struct {
	mu    sync.Mutex
	until map[string]time.Time // by full key
}

const (
	hotFor     = time.Second // since it was overtaken last
	hotKeysMax = 1024        // beyond it all are forgotten
)

func (h *hot) note(full kv.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil || len(h.until) >= hotKeysMax {
		h.until = map[string]time.Time{}
	}
	h.until[string(full)] = time.Now().Add(hotFor)
}

// among is the hot ones of some keys, each once.
func (h *hot) among(keys []kv.Key) (found []kv.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.until) == 0 {
		return nil
	}
	now := time.Now()
	for _, k := range keys {
		switch t, ok := h.until[string(k)]; {
		case !ok || len(found) == claimKeysMax:
		case now.After(t):
			delete(h.until, string(k))
		case !slices.ContainsFunc(found, func(f kv.Key) bool { return string(f) == string(k) }):
			found = append(found, k)
		}
	}
	return found
}

// noteHot notes at which written key an attempt was overtaken.
func (a *attempt) noteHot(plan *kv.Commit, err *kv.Error) {
	if err.Kind == kv.Conflict && slices.ContainsFunc(plan.Writes, func(w kv.Write) bool { return string(w.Key) == string(err.Key) }) {
		a.client.hot.note(err.Key)
	}
}
