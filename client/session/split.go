package session

import "github.com/kvd-db/kvd/kv"

// split parts what a commit reads and writes by partition, as the map has them now: the anchor's
// part first, the others in the order in which the commit comes to them. A span is cut at the
// bounds of partitions. If the map does not have all of the keys, it returns one that is missing.
func (m *Map) split(c *kv.Commit) (parts []kv.Part, missing kv.Key) {
	s := splitter{m: m, at: map[kv.PartitionID]int{}}
	for i := range c.Writes {
		p := s.of(c.Writes[i].Key)
		if p == nil {
			return nil, c.Writes[i].Key
		}
		p.Writes = append(p.Writes, c.Writes[i])
	}
	for _, r := range c.Reads {
		p := s.of(r.Key)
		if p == nil {
			return nil, r.Key
		}
		p.Reads = append(p.Reads, r)
	}
	for _, r := range c.Spans {
		if missing = s.span(r); missing != nil {
			return nil, missing
		}
	}
	return s.parts, nil
}

// splitter parts one commit.
type splitter struct {
	m     *Map
	parts []kv.Part
	at    map[kv.PartitionID]int // position in parts
	place *Place                 // of the newest key: the next one is often there too
}

// of is the part of a key's partition; nil if the map has none.
func (s *splitter) of(key kv.Key) *kv.Part {
	if s.place == nil || !s.place.Descriptor.Span.Contains(key) {
		p, ok := s.m.Find(key, false)
		if !ok {
			return nil
		}
		s.place = p
	}
	d := s.place.Descriptor
	i, ok := s.at[d.Partition]
	if !ok {
		i = len(s.parts)
		s.at[d.Partition] = i
		s.parts = append(s.parts, kv.Part{Partition: d.Partition, Generation: d.Generation})
	}
	return &s.parts[i]
}

// span gives each partition that a span overlaps its piece of it. It returns a key that is missing.
func (s *splitter) span(rest kv.Span) kv.Key {
	for !rest.IsEmpty() {
		p := s.of(rest.Start)
		if p == nil {
			return rest.Start
		}
		whole := s.place.Descriptor.Span
		p.Spans = append(p.Spans, whole.Clamp(rest))
		if len(whole.End) == 0 {
			break
		}
		rest.Start = whole.End
	}
	return nil
}

// part gives a commit its parts, and its name if it has none. All copies under one name have the
// same parts. If the map does not have all of the keys, it returns one that is missing.
func (c *Call) part(home *Place) (missing kv.Key) {
	parts, missing := c.s.Map.split(c.op.Request.Commit)
	if missing != nil {
		return missing
	}
	m := *c.op.Request.Commit
	if !c.op.Named {
		c.baptize(&m, home)
	}
	m.Reads, m.Spans, m.Writes, m.Parts = parts[0].Reads, parts[0].Spans, parts[0].Writes, nil
	if len(parts) > 1 {
		m.Parts = parts[1:]
	}
	c.name.commit, c.name.parted = &m, true
	return nil
}

// area is the name of the keyspace whose map the call needs; "" if it is more than one.
func (c *Call) area() string {
	name := c.s.Map.KeyspaceName(c.op.Key)
	if !c.op.Split {
		return name
	}
	m, id := c.op.Request.Commit, c.op.Key.Keyspace()
	other := false
	for i := range m.Writes {
		other = other || m.Writes[i].Key.Keyspace() != id
	}
	for _, r := range m.Reads {
		other = other || r.Key.Keyspace() != id
	}
	for _, r := range m.Spans {
		other = other || r.Start.Keyspace() != id
	}
	if other {
		return ""
	}
	return name
}

// outgrown reports whether the anchor's part of a commit that has its parts is not in one
// partition any more.
func (c *Call) outgrown(home *Place) bool {
	return c.name.parted && c.name.home == home.Descriptor.Partition && !holds(home.Descriptor.Span, c.name.commit)
}

// holds reports whether all that a commit itself names, without its parts, lies in a span.
func holds(s kv.Span, m *kv.Commit) bool {
	for i := range m.Writes {
		if !s.Contains(m.Writes[i].Key) {
			return false
		}
	}
	for _, r := range m.Reads {
		if !s.Contains(r.Key) {
			return false
		}
	}
	for _, r := range m.Spans {
		if !s.ContainsSpan(r) {
			return false
		}
	}
	return true
}
