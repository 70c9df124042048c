package check

import (
	"fmt"
	"slices"
)

// settle finds out who has committed, and the order of each key, both from what the committed have read.
func (l *lists) settle() {
	var queue []int32
	for i, t := range l.txs {
		if t.Result == Done {
			l.committed[i] = true
			queue = append(queue, int32(i))
		}
	}
	seen := func(n int32) { // a committed transaction has seen the append
		if t := l.appends[n].tx; t >= 0 && l.txs[t].Result == Unknown && !l.committed[t] {
			l.committed[t] = true
			queue = append(queue, t)
		}
	}
	for len(queue) > 0 {
		tx := queue[0]
		queue = queue[1:]
		for i, m := range l.txs[tx].Micros {
			if m.Append == 0 {
				l.bad[int(l.first[tx])+i] = !l.read(tx, l.keyOf[int(l.first[tx])+i], m, seen)
			}
		}
	}
}

// read takes what a transaction read for the order of the key; false if it says nothing of the order.
func (l *lists) read(tx, key int32, m Micro, seen func(int32)) bool {
	o := &l.orders[key]
	if o.latest < 0 || l.txs[tx].Call > l.txs[o.latest].Call {
		o.latest = tx
	}
	n := min(len(m.Read), len(o.elements))
	fork := 0
	for fork < n && m.Read[fork] == o.elements[fork] {
		fork++
	}
	tail, ok := l.number(tx, key, m, fork)
	for _, a := range tail {
		seen(a)
	}
	if !ok {
		return false
	}
	if fork < n {
		l.found(incompatibleOrder, m.Key, fmt.Sprintf("key %s was read as %s and as %s: they part after %s, and neither is the beginning of the other",
			printable(m.Key), shortened(o.elements), shortened(m.Read), shortened(m.Read[:fork])), o.reader, tx)
		return false
	}
	if len(tail) > 0 || o.reader < 0 {
		for i, a := range tail {
			l.appends[a].at = int32(fork + i)
		}
		o.elements, o.appends, o.reader = m.Read, append(o.appends, tail...), tx
	}
	return true
}

// number finds the appends of what was read from a position on; false if an element is there twice.
func (l *lists) number(tx, key int32, m Micro, from int) (tail []int32, ok bool) {
	if from == len(m.Read) {
		return nil, true
	}
	for i, e := range m.Read[from:] {
		at := appended{key, e}
		n, known := l.numbers[at]
		if !known {
			l.found(garbageRead, m.Key, fmt.Sprintf("%s read %d in %s, which nobody has appended", l.name(tx), e, printable(m.Key)), tx)
			n = int32(len(l.appends))
			l.numbers[at] = n
			l.appends = append(l.appends, origin{tx: -1, at: -1, final: true})
		}
		if p := l.appends[n]; p.at >= 0 && int(p.at) < from || slices.Contains(m.Read[from:from+i], e) {
			l.found(duplicateElement, m.Key, fmt.Sprintf("%s read %d in %s twice: %s", l.name(tx), e, printable(m.Key), shortened(m.Read)), tx, l.appends[n].tx)
			return tail, false
		}
		if w := l.appends[n].tx; w >= 0 && l.txs[w].Result == Refused {
			l.found(abortedRead, m.Key, fmt.Sprintf("%s read %d in %s, which %s had appended, that was refused", l.name(tx), e, printable(m.Key), l.name(w)), w, tx)
		}
		tail = append(tail, n)
	}
	return tail, true
}

// within judges what a transaction may know by itself, and the state in which it found each key.
func (l *lists) within(tx int32) {
	t := l.txs[tx]
	for i, m := range t.Micros {
		if m.Append != 0 {
			continue
		}
		before, own := t.known(i)
		whole := append(slices.Clone(before), own...)
		var right bool
		if before != nil {
			right = slices.Equal(m.Read, whole)
		} else {
			right = len(m.Read) >= len(own) && slices.Equal(m.Read[len(m.Read)-len(own):], own)
		}
		if !right {
			l.bad[int(l.first[tx])+i] = true
			l.found(internal, m.Key, fmt.Sprintf("%s read %s as %s, which must end in its own %s", t.Name, printable(m.Key), shortened(m.Read), shortened(whole)), tx)
			continue
		}
		if before == nil && len(m.Read) > len(own) && !l.bad[int(l.first[tx])+i] {
			l.found1b(tx, m, l.numbers[appended{l.keyOf[int(l.first[tx])+i], m.Read[len(m.Read)-len(own)-1]}])
		}
	}
}

// found1b judges the append that was the newest when a transaction found a key.
func (l *lists) found1b(tx int32, m Micro, newest int32) {
	p := l.appends[newest]
	switch {
	case p.tx == tx:
		l.found(internal, m.Key, fmt.Sprintf("%s read what it appended to %s later", l.name(tx), printable(m.Key)), tx)
	case p.tx >= 0 && !p.final:
		l.found(intermediateRead, m.Key, fmt.Sprintf("%s read %s as %s, as it was before %s had appended all that it appends", l.name(tx), printable(m.Key), shortened(m.Read), l.name(p.tx)), p.tx, tx)
	}
}

// known is what a transaction knows of a key before its micro-operation i: what it read of it, nil if it has not,
// and what it has appended since.
func (t *Transaction) known(i int) (read, own []Element) {
	key := t.Micros[i].Key
	for j := i - 1; j >= 0; j-- {
		switch m := t.Micros[j]; {
		case m.Key != key:
		case m.Append == 0:
			slices.Reverse(own)
			return append([]Element{}, m.Read...), own
		default:
			own = append(own, m.Append)
		}
	}
	slices.Reverse(own)
	return nil, own
}

// judgeOrders judges the versions of each key by themselves, and finds the appends that nobody has seen.
func (l *lists) judgeOrders() {
	for k := range l.orders {
		l.dirty(int32(k))
	}
	for i, t := range l.txs {
		if !l.committed[i] {
			continue
		}
		for j, m := range t.Micros {
			if m.Append != 0 {
				l.unseen(int32(i), l.keyOf[int(l.first[i])+j], m)
			}
		}
	}
}

// dirty looks for what was appended to what a refused transaction had left.
func (l *lists) dirty(key int32) {
	refused := int32(-1)
	for _, n := range l.orders[key].appends {
		w := l.appends[n].tx
		switch {
		case w < 0:
		case l.txs[w].Result == Refused:
			refused = w
		case refused >= 0:
			l.found(dirtyUpdate, l.keys[key], fmt.Sprintf("%s appended to what %s had left in %s, that was refused", l.name(w), l.name(refused), printable(l.keys[key])), refused, w)
			return
		}
	}
}

// unseen takes note of an append that no read has.
func (l *lists) unseen(tx, key int32, m Micro) {
	n := l.numbers[appended{key, m.Append}]
	if p := l.appends[n]; p.at >= 0 || p.tx != tx {
		return
	}
	o := &l.orders[key]
	if o.latest >= 0 && l.txs[o.latest].Call > l.txs[tx].Return {
		l.found(lostAppend, m.Key, fmt.Sprintf("%s appended %d to %s, and %s, which began after its end, does not see it; nobody does", l.name(tx), m.Append, printable(m.Key), l.name(o.latest)), tx, o.latest)
	}
	if len(o.unseen) == 0 || l.appends[o.unseen[len(o.unseen)-1]].tx != tx {
		o.unseen = append(o.unseen, n)
	}
}
