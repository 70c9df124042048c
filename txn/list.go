package txn

// EachLock calls f for the locks of a guard, in the order of its latches, and with each how many of
// those who wait for the guard meet it first. f must not change the table.
func (t *Table) EachLock(g *Guard, f func(l *Latch, waiters int)) {
	if g.locks == nil {
		return
	}
	var wide []*Latch
	for i := range g.Latches {
		if l := &g.Latches[i]; l.Wide {
			wide = append(wide, l)
		}
	}
	met := map[*Latch]int{} // looked up only
	for _, w := range g.locks.waiters {
		met[t.firstOf(g, wide, w)]++
	}
	for i := range g.Latches {
		l := &g.Latches[i]
		f(l, met[l])
	}
}

// firstOf is the first lock of a holder that stands in the way of a waiter; wide is its wide ones.
func (t *Table) firstOf(holder *Guard, wide []*Latch, w *Guard) *Latch {
	for i := range w.Latches {
		l := &w.Latches[i]
		var first *Latch
		if l.Wide {
			t.eachKey(l.Span, func(k *keyState) bool {
				first = k.lockOf(holder, l)
				return first == nil
			})
		} else if k := t.find(l.Span.Start); k != nil {
			first = k.lockOf(holder, l)
		}
		for _, o := range wide {
			if first == nil && conflicts(l.Mode, o.Mode) && (o.Span.Contains(l.Span.Start) || l.Wide && o.Span.Overlaps(l.Span)) {
				first = o
			}
		}
		if first != nil {
			return first
		}
	}
	return nil
}

// lockOf is the lock of a holder on the key that stands in the way of l; nil if there is none.
func (k *keyState) lockOf(holder *Guard, l *Latch) *Latch {
	if k.lock != nil && k.lock.guard == holder {
		return k.lock
	}
	if l.Mode == Shared {
		return nil
	}
	for o := k.shared.head; o != nil; o = o.place.next {
		if o.guard == holder {
			return o
		}
	}
	return nil
}

// Waiters is the number of guards that wait for a holder's locks.
func (g *Guard) Waiters() int {
	if g.locks == nil {
		return 0
	}
	return len(g.locks.waiters)
}
