package partition

import (
	"bytes"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// stage writes what a transaction has in this partition as locks at its timestamp, and at the anchor its
// record (rule P2).
func (m *Machine) stage(c *Command, b *mvcc.Batch) error {
	if c.Timestamp <= m.state.GC {
		violated("nothing is staged at or below G: %d, %d", c.Timestamp, m.state.GC)
	}
	if err := m.lock(c, b); err != nil || len(c.Participants) == 0 {
		return err
	}
	return b.PutRecord(&mvcc.Record{Attempt: c.Attempt, State: mvcc.RecordStaging, Timestamp: c.Timestamp, Participants: c.Participants})
}

// decide ends the staging of a transaction at its anchor (rules P6, P8): its own locks become versions,
// of which the one at the anchor key carries the id (rule I9), and its record says that it is committed; or all goes.
func (m *Machine) decide(c *Command, b *mvcc.Batch, res *ApplyResult) error {
	if c.Timestamp != 0 && c.Timestamp <= m.state.GC {
		violated("nothing is written at or below G: %d, %d", c.Timestamp, m.state.GC)
	}
	err := takeLocks(c, b, func(k *mvcc.Lock) error {
		id := kv.TxID{}
		if bytes.Equal(k.Key, c.Anchor) {
			id = c.ID
		}
		return b.PutResolved(k.Key, c.Timestamp, id, k.Value, k.Write == kv.WriteDelete)
	})
	if err != nil {
		return err
	}
	if c.Timestamp == 0 {
		return b.DeleteRecord(c.Anchor, c.ID)
	}
	if err := b.CheckOutcome(c.Anchor, c.ID, c.AsOf, c.Timestamp); err != nil {
		return err
	}
	res.Writes++
	return b.ReplaceRecord(&mvcc.Record{Attempt: c.Attempt, State: mvcc.RecordCommitted, Timestamp: c.Timestamp, Participants: c.Participants})
}

// checkStaged insists on the one timestamp at which a staged lock can commit.
func checkStaged(k *mvcc.Lock, c kv.Timestamp) {
	if k.Staged != 0 && k.Staged != c {
		violated("what was staged commits at that timestamp: %d, %d", k.Staged, c)
	}
}
