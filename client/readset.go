package client

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// cacheBytesMax is how much of what a transaction has read by key it remembers for each keyspace;
// beyond it a key is asked for again, and the answer is the same.
const cacheBytesMax = 16 << 20

// readSet is what a transaction has seen of the store in one keyspace: at its commit nothing in it
// may have changed. Its keys and ranges are those of the user.
type readSet struct {
	keys   map[string]seen
	bytes  int
	spans  []Range // sorted and merged up to position merged
	merged int
	over   bool // more was read than one commit may name: not all of it is here
}

// seen is what was found at a key.
type seen struct {
	value   []byte // shared: it is copied for the caller
	version Timestamp
	found   bool
	dropped bool // it must be asked for again
}

// key is what is known of a key.
func (r *readSet) key(k []byte) (seen, bool) {
	s, ok := r.keys[string(k)]
	return s, ok && !s.dropped
}

// note remembers a key that was read. The value must not change any more.
func (r *readSet) note(k []byte, s seen) {
	if r.keys == nil {
		r.keys = map[string]seen{}
	}
	if old, again := r.keys[string(k)]; again {
		if old.dropped {
			return
		}
	} else if len(r.keys) >= kv.CommitKeysMax {
		r.over = true
		return
	}
	if n := len(k) + len(s.value); r.bytes+n > cacheBytesMax {
		s = seen{dropped: true}
	} else {
		r.bytes += n
	}
	r.keys[string(k)] = s
}

// noteSpan remembers a range that was scanned. Many are merged now and then, so that a loop over
// small scans needs no more memory than what it covers.
func (r *readSet) noteSpan(s Range) {
	if s.empty() {
		return
	}
	r.spans = append(r.spans, Range{Start: slices.Clone(s.Start), End: slices.Clone(s.End)})
	if len(r.spans) >= 2*r.merged+64 {
		r.spans = mergeRanges(r.spans)
		r.merged = len(r.spans)
		if r.merged > kv.CommitKeysMax {
			r.spans, r.over = r.spans[:kv.CommitKeysMax], true
		}
	}
}

// list is what a commit has to name, in order: ranges, and the keys that lie in none of them.
func (r *readSet) list() (keys []string, spans []Range) {
	r.spans = mergeRanges(r.spans)
	r.merged = len(r.spans)
	for k := range r.keys {
		if !rangesContain(r.spans, []byte(k)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, r.spans
}
