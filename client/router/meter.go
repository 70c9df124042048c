package router

import "sync"

// Meter adds up what several calls took, for one who made them all. The zero Meter is ready, nil
// measures nothing.
type Meter struct {
	mu    sync.Mutex
	sends int
	trace *[]RPC
}

// NewMeter is a Meter that also notes every copy of every request in trace, unless that is nil.
// The trace may be read once all calls have ended.
func NewMeter(trace *[]RPC) *Meter { return &Meter{trace: trace} }

// Sends is how many copies of requests were sent.
func (m *Meter) Sends() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sends
}

func (m *Meter) add(sends int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sends += sends
}

// traces reports whether the meter wants to hear of every copy.
func (m *Meter) traces() bool { return m != nil && m.trace != nil }

func (m *Meter) note(i RPC) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.trace = append(*m.trace, i)
}
