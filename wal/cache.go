package wal

import "github.com/kvd-db/kvd/invariant"

// Cache bounds the bytes of the newest entries that many Views keep in memory. All Views
// that share one belong to the same event loop. What exceeds the budget is taken from
// the View that was written to least recently, its oldest entries first.
type Cache struct {
	bytesMax    int64
	bytes       int64
	first, last *View // by last write, least recent first
}

// entryOverheadBytes is what an entry costs in memory beyond its Data.
const entryOverheadBytes = 48

// NewCache makes a cache with a budget in bytes.
func NewCache(bytesMax int64) *Cache { return &Cache{bytesMax: bytesMax} }

// Bytes is what the cached entries take.
func (c *Cache) Bytes() int64 { return c.bytes }

// tail is a View's part of the cache. Invariant: entries are the newest ones of the
// View, without a gap.
type tail struct {
	cache      *Cache
	entries    []Entry
	prev, next *View
	linked     bool
}

func costOf(e *Entry) int64 { return int64(len(e.Data)) + entryOverheadBytes }

// push adds the entry that v has just got.
func (t *tail) push(v *View, e *Entry) {
	c := t.cache
	if c == nil {
		return
	}
	c.touch(v)
	t.entries = append(t.entries, *e)
	c.bytes += costOf(e)
	for c.bytes > c.bytesMax && c.first != nil {
		victim := &c.first.tail
		n, over := 0, c.bytes-c.bytesMax
		for n < len(victim.entries) && over > 0 {
			over -= costOf(&victim.entries[n])
			n++
		}
		victim.drop(len(victim.entries) - n)
		if len(victim.entries) == 0 {
			c.unlink(c.first)
		}
	}
}

// truncate forgets the newest n entries.
func (t *tail) truncate(n int) {
	if n = min(n, len(t.entries)); n > 0 {
		t.release(t.entries[len(t.entries)-n:])
		t.entries = t.entries[:len(t.entries)-n]
	}
}

// keep forgets all but the newest n entries.
func (t *tail) keep(n int) {
	if n < len(t.entries) {
		t.drop(n)
	}
}

// drop forgets all but the newest n entries, and the memory that the others took.
func (t *tail) drop(n int) {
	gone := len(t.entries) - n
	t.release(t.entries[:gone])
	t.entries = t.entries[gone:]
	if n == 0 {
		t.entries = nil
	}
}

// release gives back the cost of entries, and lets go of their Data.
func (t *tail) release(es []Entry) {
	if t.cache == nil {
		invariant.Check(len(es) == 0, "a view without a cache caches %d entries", len(es))
		return
	}
	for i := range es {
		t.cache.bytes -= costOf(&es[i])
		es[i] = Entry{}
	}
}

// leave takes v out of the cache.
func (t *tail) leave(v *View) {
	t.drop(0)
	if t.linked {
		t.cache.unlink(v)
	}
	t.cache = nil
}

// touch makes v the most recently written view.
func (c *Cache) touch(v *View) {
	if c.last == v {
		return
	}
	if v.tail.linked {
		c.unlink(v)
	}
	v.tail.linked, v.tail.prev = true, c.last
	if c.last != nil {
		c.last.tail.next = v
	} else {
		c.first = v
	}
	c.last = v
}

func (c *Cache) unlink(v *View) {
	t := &v.tail
	if t.prev != nil {
		t.prev.tail.next = t.next
	} else {
		c.first = t.next
	}
	if t.next != nil {
		t.next.tail.prev = t.prev
	} else {
		c.last = t.prev
	}
	t.prev, t.next, t.linked = nil, nil, false
}
