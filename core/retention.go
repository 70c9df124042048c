package core

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// setKeyspace changes how long old versions of a keyspace are kept.
type setKeyspace struct {
	Keyspace  kv.KeyspaceID
	Retention time.Duration
}

func (*setKeyspace) kind() kind { return kindSetKeyspace }

func (c *setKeyspace) appendBody(b []byte) []byte {
	return kv.AppendRetention(binary.AppendUvarint(b, uint64(c.Keyspace)), c.Retention)
}

func (c *setKeyspace) decodeBody(d *kv.Decoder) {
	c.Keyspace, c.Retention = kv.KeyspaceID(d.Uvarint(1<<32-1)), d.Retention()
}

func (c *setKeyspace) apply(s *state) result {
	k, ok := s.keyspace(c.Keyspace)
	if !ok || k.Phase == phaseDropping {
		return result{err: kv.Errorf(kv.NotFound, "keyspace %d does not exist", c.Keyspace)}
	}
	if err := kv.CheckRetention(c.Retention); err != nil {
		return result{err: err}
	}
	if k.Retention != c.Retention {
		k.Retention = c.Retention
		s.putKeyspace(k)
	}
	return result{}
}

func (m *Machine) setKeyspace(id RequestID, r *kv.SetKeyspace) {
	k, ok := m.Keyspace(r.Name)
	if !ok {
		m.sink.Reply(id, nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist: kvcli keyspace list shows those that do", r.Name))
		return
	}
	if err := kv.CheckRetention(r.Retention); err != nil {
		m.sink.Reply(id, nil, err)
		return
	}
	w := m.await(&waiting{id: id, what: fmt.Sprintf("set keyspace %q", r.Name)})
	m.proposeFor(w, &setKeyspace{Keyspace: k.ID, Retention: r.Retention})
}

// Retain is what the core's leader answers to a complete Report: how far the loop may let partitions
// collect old versions, and how long keyspaces want them kept.
type Retain struct {
	Loop int // of the addressed node
	// Ceiling is a promise for ever: no snapshot is or will be held that reads below it. G stays
	// at or below it. 0 = nothing is known yet.
	Ceiling kv.Timestamp
	// Revision is that of the state in which keyspaces had these Retentions.
	Revision   kv.Revision
	Retentions []KeyspaceRetention // of those that have one of their own, by id
}

// KeyspaceRetention is the retention of one keyspace.
type KeyspaceRetention struct {
	Keyspace  kv.KeyspaceID
	Retention time.Duration
}

func (m *Machine) retain(loop int) Retain {
	k := Retain{Loop: loop, Ceiling: m.ceiling(), Revision: m.state.revision}
	m.state.keyspaces.Ascend(func(r keyspaceRecord) bool {
		if r.Retention != 0 {
			k.Retentions = append(k.Retentions, KeyspaceRetention{r.ID, r.Retention})
		}
		return true
	})
	return k
}
