package client

import (
	"context"

	"github.com/kvd-db/kvd/kv"
)

// claimKeysMax is how many keys a transaction claims at most when it runs again. One that writes more does
// without.
const claimKeysMax = 16

// claims is what a transaction that was overtaken will write again: it claims those keys at its first
// read, and gets its turn among those that do.
type claims struct {
	age  kv.Age
	keys []claimed // nil: none
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

// claim claims what is to be claimed if at, the timestamp of the view, is not known yet, and returns it. If
// that does not work, the reads go without.
func (v *view) claim(ctx context.Context, at Timestamp) Timestamp {
	c := &v.claims
	if at != 0 || len(c.keys) == 0 {
		return at
	}
	full := make([]kv.Key, 0, len(c.keys))
	for _, k := range c.keys {
		ks, err := v.keyspace(ctx, k.keyspace)
		if err != nil {
			return 0
		}
		full = append(full, ks.FullKey(k.key))
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
