package mvcc

import (
	"bytes"
	"maps"
	"slices"
	"sort"

	"github.com/kvd-db/kvd/kv"
)

// model is what the store should hold: the plainest implementation.
type model struct {
	step     uint64
	replicas map[kv.PartitionID]*modelReplica
	system   map[string]string
}

type modelReplica struct {
	state    ReplicaState
	versions map[string][]Version // newest first
	locks    map[string]Lock
	records  map[string]Record
}

func newModel() *model {
	return &model{replicas: map[kv.PartitionID]*modelReplica{}, system: map[string]string{}}
}

func (m *model) clone() *model {
	c := &model{step: m.step, replicas: map[kv.PartitionID]*modelReplica{}, system: maps.Clone(m.system)}
	for p, r := range m.replicas {
		c.replicas[p] = r.clone()
	}
	return c
}

func (r *modelReplica) clone() *modelReplica {
	c := &modelReplica{state: r.state, versions: map[string][]Version{}, locks: maps.Clone(r.locks), records: maps.Clone(r.records)}
	for k, vs := range r.versions {
		c.versions[k] = slices.Clone(vs)
	}
	return c
}

func (r *modelReplica) write(k kv.Key, v Version) {
	vs := r.versions[string(k)]
	if len(vs) > 0 && vs[0].Timestamp == v.Timestamp {
		return // the same again
	}
	r.versions[string(k)] = slices.Insert(vs, 0, v)
}

// resolve writes a version wherever it belongs, unless it is there.
func (r *modelReplica) resolve(k kv.Key, v Version) {
	vs := r.versions[string(k)]
	i := 0
	for i < len(vs) && vs[i].Timestamp > v.Timestamp {
		i++
	}
	if i == len(vs) || vs[i].Timestamp != v.Timestamp {
		r.versions[string(k)] = slices.Insert(slices.Clone(vs), i, v)
	}
}

// lockOn is the exclusive lock of a key.
func (r *modelReplica) lockOn(k kv.Key) (Lock, bool) {
	for _, l := range r.locks {
		if l.Strength == Exclusive && bytes.Equal(l.Key, k) {
			return l, true
		}
	}
	return Lock{}, false
}

func (r *modelReplica) get(k kv.Key, ts kv.Timestamp) (Version, bool) {
	for _, v := range r.versions[string(k)] {
		if v.Timestamp <= ts {
			return v, true
		}
	}
	return Version{}, false
}

func (r *modelReplica) keys(s kv.Span) []string {
	var out []string
	for k := range r.versions {
		if s.Contains(kv.Key(k)) {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}

// scan is everything in a span, forward, without limits.
func (r *modelReplica) scan(s kv.Span, ts kv.Timestamp) []kv.Row {
	var rows []kv.Row
	for _, k := range r.keys(s) {
		if v, ok := r.get(kv.Key(k), ts); ok && !v.Tombstone {
			rows = append(rows, kv.Row{Key: kv.Key(k), Value: v.Value, Version: v.Timestamp})
		}
	}
	return rows
}

func (r *modelReplica) newestIn(s kv.Span, after kv.Timestamp) (kv.Key, kv.Timestamp, bool) {
	for _, k := range r.keys(s) {
		if v := r.versions[k][0]; v.Timestamp > after {
			return kv.Key(k), v.Timestamp, true
		}
	}
	return nil, 0, false
}

// collected is what is left of the versions after a whole collection of garbage.
func (r *modelReplica) collected(g kv.Timestamp) (keys, versions int64) {
	for _, vs := range r.versions {
		n := int64(0)
		for _, v := range vs {
			if v.Timestamp > g {
				n++
				continue
			}
			if !v.Tombstone {
				n++
			}
			break
		}
		if n > 0 {
			keys++
		}
		versions += n
	}
	return keys, versions
}

func sameVersion(a, b Version) bool {
	return a.Timestamp == b.Timestamp && a.ID == b.ID && a.Tombstone == b.Tombstone && bytes.Equal(a.Value, b.Value)
}
