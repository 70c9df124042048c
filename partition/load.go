package partition

// Load is what a leader holds in memory of what comes and goes; all zero while it does not lead.
type Load struct {
	Requests    int // without an answer
	CommitBytes int // of the commits that are admitted and not yet applied
	SeenIDs     int
	Draws       int // asked for and not answered; those that were given up count until they are
}

// Load looks at the queues of the partition.
func (p *Partition) Load() Load {
	l := p.lead
	if l == nil {
		return Load{}
	}
	return Load{Requests: l.tickets.len(), CommitBytes: l.bytes, SeenIDs: l.seen.Len(), Draws: l.draws.queue.Len()}
}

// WithDefaults are the options with their zero fields filled in.
func (o Options) WithDefaults() Options {
	o.setDefaults()
	return o
}
