package check

import (
	"fmt"
	"math"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// Time is the virtual time of the simulation in nanoseconds.
type Time = int64

// Never is the Return of an operation whose answer never came.
const Never Time = math.MaxInt64

// Kind says what an operation was.
type Kind uint8

// The kinds of operation.
const (
	Read   Kind = iota + 1 // Reads at Timestamp, or one strong read
	Scan                   // Scanned at Timestamp
	Commit                 // Writes at Timestamp, given that Reads and Scanned, seen at Start, still hold
)

// Result is what the client was told in the end.
type Result uint8

// The results.
const (
	Unknown Result = iota // it may have happened
	Done
	Refused // final: it has not happened and never will
)

// Seen is one row as a client saw it.
type Seen struct {
	Key     string
	Value   string
	Version kv.Timestamp
	Found   bool
}

// Scanned is a span as a client saw it: Rows are all that it holds, in key order.
type Scanned struct {
	Span kv.Span
	Rows []Seen
}

// Op is one operation of one client. A commit that was tried under several ids is as many
// operations.
type Op struct {
	Client       int
	Kind         Kind
	Result       Result
	Call, Return Time
	ID           kv.TxID      // Commit
	Timestamp    kv.Timestamp // Commit: c. Read, Scan: r
	Strong       bool         // Read of one key at no timestamp: the version says what was read
	Past         bool         // Read, Scan at a timestamp that the client chose: real time says nothing
	Reads        []Seen
	Scanned      []Scanned
	Told         []Seen  // versions that somebody has told the client of, beside the database, before Call
	Change       *Change // Commit
}

// Change is what a commit wants to do.
type Change struct {
	Start  kv.Timestamp // s of Reads and Scanned, 0 if there are none
	Writes []kv.Write
	Sums   []int64 // results of the adds, in order, if Done
}

// History is all operations, in the order in which they were written down.
type History struct{ Ops []*Op }

// Finding is one contradiction.
type Finding struct {
	Check string // the name of the check that failed
	Key   string // the key it is about, if it is about one
	Text  string
	Ops   []*Op // those that contradict each other
}

func (f Finding) String() string { return f.Check + ": " + f.Story() }

// Story is what contradicts what.
func (f Finding) Story() string {
	var b strings.Builder
	b.WriteString(f.Text)
	for _, o := range f.Ops {
		fmt.Fprintf(&b, "\n    %s", o)
	}
	return b.String()
}

// String prints an operation on one line.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s..%s] client %d ", clock(o.Call), clock(o.Return), o.Client)
	switch o.Kind {
	case Read:
		b.WriteString("read")
		if o.Strong {
			b.WriteString(" strong")
		} else {
			fmt.Fprintf(&b, " at %d", uint64(o.Timestamp))
		}
	case Scan:
		fmt.Fprintf(&b, "scan at %d", uint64(o.Timestamp))
	case Commit:
		fmt.Fprintf(&b, "commit %.8s %s", o.ID, [...]string{"unknown", "done", "refused"}[o.Result])
		if o.Timestamp != 0 {
			fmt.Fprintf(&b, " at %d", uint64(o.Timestamp))
		}
	}
	for _, r := range o.Reads {
		fmt.Fprintf(&b, " %s", r)
	}
	for _, s := range o.Scanned {
		fmt.Fprintf(&b, " %q-%q %v", printable(string(s.Span.Start)), printable(string(s.Span.End)), s.Rows)
	}
	if o.Change != nil {
		o.Change.print(&b)
	}
	return b.String()
}

func (c *Change) print(b *strings.Builder) {
	if c.Start != 0 {
		fmt.Fprintf(b, " start %d", uint64(c.Start))
	}
	for _, w := range c.Writes {
		k := printable(string(w.Key))
		switch w.Kind {
		case kv.WritePut:
			fmt.Fprintf(b, " %s:=%q", k, w.Value)
		case kv.WriteDelete:
			fmt.Fprintf(b, " delete %s", k)
		case kv.WriteAdd:
			fmt.Fprintf(b, " %s+=%d", k, w.Delta)
		}
		if w.Expect.Kind != kv.ExpectNothing {
			fmt.Fprintf(b, " if %d(%d,%q)", w.Expect.Kind, uint64(w.Expect.Version), w.Expect.Value)
		}
	}
	if len(c.Sums) > 0 {
		fmt.Fprintf(b, " sums %v", c.Sums)
	}
}

func (s Seen) String() string {
	if !s.Found {
		return fmt.Sprintf("%s absent", printable(s.Key))
	}
	return fmt.Sprintf("%s=%q@%d", printable(s.Key), s.Value, uint64(s.Version))
}

func clock(t Time) string {
	if t == Never {
		return "never"
	}
	return fmt.Sprintf("%.6fs", float64(t)/1e9)
}

// printable is a key without the binary prefix of its keyspace and bucket.
func printable(k string) string {
	i := strings.IndexFunc(k, func(r rune) bool { return r >= 'a' && r <= 'z' })
	if i < 0 {
		return fmt.Sprintf("%x", k)
	}
	return k[i:]
}
