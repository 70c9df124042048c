package session

import "github.com/kvd-db/kvd/kv"

// split parts what a commit reads and writes by partition, as the map has them now: the anchor's
// part first, the others in the order in which the commit comes to them. A span is cut at the
// bounds of partitions. false: the map does not have all of the keys.
func (m *Map) split(c *kv.Commit) ([]kv.Part, bool) {
	s := splitter{m: m, at: map[kv.PartitionID]int{}}
	for i := range c.Writes {
		p := s.of(c.Writes[i].Key)
		if p == nil {
			return nil, false
		}
		p.Writes = append(p.Writes, c.Writes[i])
	}
	for _, r := range c.Reads {
		p := s.of(r.Key)
		if p == nil {
			return nil, false
		}
		p.Reads = append(p.Reads, r)
	}
	for _, r := range c.Spans {
		if !s.span(r) {
			return nil, false
		}
	}
	return s.parts, true
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

// span gives each partition that a span overlaps its piece of it.
func (s *splitter) span(rest kv.Span) bool {
	for !rest.IsEmpty() {
		p := s.of(rest.Start)
		if p == nil {
			return false
		}
		whole := s.place.Descriptor.Span
		p.Spans = append(p.Spans, whole.Clamp(rest))
		if len(whole.End) == 0 {
			return true
		}
		rest.Start = whole.End
	}
	return true
}

// part gives a commit its parts, and its name if it has none. All copies under one name have the
// same parts. false: the map does not have all of the keys.
func (c *Call) part(home *Place) bool {
	parts, ok := c.s.Map.split(c.op.Request.Commit)
	if !ok {
		return false
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
	return true
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
