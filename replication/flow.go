package replication

// Flow bounds one group's traffic. A follower that needs more falls behind to its log, and then to a
// snapshot, never into the leader's memory. The zero value of a field means its default.
type Flow struct {
	MessageBytesMax     uint64 // entries in one append message
	ApplyBytesMax       uint64 // entries handed out for apply and not applied
	UncommittedBytesMax uint64 // proposed and not applied
	InflightMessagesMax int    // appends on their way to one follower
	InflightBytesMax    uint64 // the same in bytes
}

// DefaultFlow is what a node works with.
func DefaultFlow() Flow {
	return Flow{
		MessageBytesMax: 1 << 20, ApplyBytesMax: 16 << 20, UncommittedBytesMax: 32 << 20,
		InflightMessagesMax: 256, InflightBytesMax: 8 << 20,
	}
}

// WithDefaults is the flow with its zero fields filled in.
func (f Flow) WithDefaults() Flow {
	d := DefaultFlow()
	setDefault(&f.MessageBytesMax, d.MessageBytesMax)
	setDefault(&f.ApplyBytesMax, d.ApplyBytesMax)
	setDefault(&f.UncommittedBytesMax, d.UncommittedBytesMax)
	setDefault(&f.InflightMessagesMax, d.InflightMessagesMax)
	setDefault(&f.InflightBytesMax, d.InflightBytesMax)
	return f
}

func setDefault[T int | uint64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Load is what a group holds in memory of what comes and goes.
type Load struct {
	Uncommitted      int   // entries proposed here in this term and not committed
	UncommittedBytes int64 // of their commands
	Writes           int   // log writes handed out and not processed
	WriteBytes       int64 // of their entries
	StalledBytes     int64 // of entries that wait for a snapshot to be in place
	Held             int   // appends without entries that wait for the next tick
	Reads            int   // questions for a proof of leadership
}

// Load looks at the queues of the group.
func (g *Group) Load() Load {
	l := Load{
		Uncommitted: g.lead.uncommitted.entries, UncommittedBytes: g.lead.uncommitted.bytes,
		Writes: len(g.log.queue), Held: len(g.lead.held), Reads: len(g.lead.reads),
	}
	for _, a := range g.log.queue {
		l.WriteBytes += bytesOf(a)
	}
	for _, m := range g.log.held {
		for _, e := range m.GetEntries() {
			l.StalledBytes += int64(len(e.GetData()))
		}
	}
	for _, batch := range g.lead.asked {
		l.Reads += len(batch)
	}
	return l
}

func bytesOf(a *Append) (n int64) {
	for i := range a.Log.Entries {
		n += int64(len(a.Log.Entries[i].Data))
	}
	return n
}

// uncommitted is what a leader has proposed in its term and not seen committed.
type uncommitted struct {
	entries int
	bytes   int64
}

func (u *uncommitted) add(entries, bytes int) {
	u.entries += entries
	u.bytes += int64(bytes)
}
