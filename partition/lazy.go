package partition

// Commands that nobody waits for travel with others: an entry of their own costs every replica as much as
// that of a commit. They are what follows the commit point of a transaction over several
// partitions: the removal of its locks, while nobody has met them, and of its record.
//
// They are in no order with the other commands of the partition, nor need they be. A lock that is to be
// removed holds up whoever would write the key, until its removal is applied; a record has been confirmed.

// lazyMax is how many commands wait for others to go with: then they go alone.
const lazyMax = 64

// proposeLazily queues a command for the next entry that is made for another reason, or for the next tick.
func (l *leader) proposeLazily(c command) {
	p := &l.log
	p.lazy.Push(l.weigh(c))
	if p.lazy.Len() >= lazyMax {
		l.hurry()
	}
}

// hurry has everything that waits for others to go with proposed now.
func (l *leader) hurry() {
	if l.log.lazy.Len() > 0 {
		l.log.board()
		l.tell()
	}
}

// board puts what waits behind what is queued.
func (g *pipeline) board() {
	for x, ok := g.lazy.Pop(); ok; x, ok = g.lazy.Pop() {
		g.queue.Push(x)
	}
}
