package sim

import (
	"bufio"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// trace is what a run did: a digest over every event, and, if somebody listens, a line each.
type trace struct {
	sched  *scheduler
	digest uint64
	out    *bufio.Writer // nil: nobody reads it all
	ring   []string      // the last lines, if a story is wanted
	next   int
	keep   func(line string) bool // which lines the story wants
	lines  bool
}

const fnvOffset, fnvPrime = 14695981039346656037, 1099511628211

func newTrace(c *scheduler) *trace { return &trace{sched: c, digest: fnvOffset} }

// writeTo makes the trace write all lines.
func (t *trace) writeTo(w io.Writer) {
	t.out = bufio.NewWriterSize(w, 1<<20)
	t.lines = true
}

// remember makes the trace keep the last n lines that keep wants.
func (t *trace) remember(n int, keep func(string) bool) {
	t.ring, t.keep, t.lines = make([]string, n), keep, true
}

// note puts numbers into the digest; every event of the world notes itself.
func (t *trace) note(xs ...uint64) {
	d := (t.digest ^ uint64(t.sched.now)) * fnvPrime
	for _, x := range xs {
		d = (d ^ x) * fnvPrime
	}
	t.digest = d
}

// bytes puts bytes into the digest.
func (t *trace) bytes(b []byte) { t.note(xxhash.Sum64(b)) }

// line says what happens now. Callers ask t.lines first, so that nothing is formatted in vain.
func (t *trace) line(format string, args ...any) {
	if !t.lines {
		return
	}
	l := fmt.Sprintf("%.6f ", float64(t.sched.now)/1e9) + fmt.Sprintf(format, args...)
	if t.out != nil {
		_, _ = t.out.WriteString(l + "\n") // Flush reports the error
	}
	if t.ring != nil && t.keep(l) {
		t.ring[t.next%len(t.ring)] = l
		t.next++
	}
}

// story is the remembered lines, oldest first.
func (t *trace) story() []string {
	if t.next <= len(t.ring) {
		return t.ring[:t.next]
	}
	i := t.next % len(t.ring)
	return append(append([]string(nil), t.ring[i:]...), t.ring[:i]...)
}

func (t *trace) flush() error {
	if t.out == nil {
		return nil
	}
	return t.out.Flush()
}
