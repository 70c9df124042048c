package output

import (
	"bufio"
	"encoding/csv"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/kvd-db/kvd/kv"
)

// Format is how results are printed.
type Format string

// The formats.
const (
	Table     Format = "table"
	JSON      Format = "json"
	JSONLines Format = "jsonl"
	CSV       Format = "csv"
	Raw       Format = "raw"
)

// Formats are all of them.
func Formats() []string {
	return []string{string(Table), string(JSON), string(JSONLines), string(CSV), string(Raw)}
}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if s == f {
			return Format(s), nil
		}
	}
	return "", kv.Errorf(kv.Invalid, "there is no output format %q: they are %s", s, strings.Join(Formats(), " "))
}

// tableValueMax is the longest literal that a table shows of one value.
const tableValueMax = 1024

// One prints a single thing.
func One(w io.Writer, f Format, r Record) error {
	switch f {
	case Table:
		return oneTable(w, r.flat())
	case JSON:
		return writeJSON(w, r, true)
	case JSONLines:
		return writeJSON(w, r, false)
	}
	l := NewList(w, f)
	if err := l.Row(r); err != nil {
		return err
	}
	return l.Close()
}

func writeJSON(w io.Writer, r Record, indent bool) error {
	b, err := marshal(r)
	if err != nil {
		return err
	}
	if indent {
		b = indented(b)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

func oneTable(w io.Writer, r Record) error {
	width := 0
	for _, f := range r {
		width = max(width, runewidth.StringWidth(f.Name))
	}
	var b strings.Builder
	for _, f := range r {
		b.WriteString(runewidth.FillRight(f.Name, width+2))
		b.WriteString(cell(f.Value))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is a value in a table; a long one is cut, in a way that cannot be mistaken for the
// whole: it does not parse.
func cell(value any) string {
	s := text(value, false)
	if len(s) <= tableValueMax {
		return s
	}
	cut := tableValueMax
	for cut > 0 && s[cut]&0xc0 == 0x80 { // not inside of a character
		cut--
	}
	if _, ok := value.(Bytes); ok && s[0] != '"' {
		return `"` + s[:cut] + `"... (cut; -o jsonl shows all)`
	}
	return s[:cut] + "... (cut; -o jsonl shows all)"
}

// List prints things of one kind, as they come.
type List struct {
	w      *bufio.Writer
	format Format
	csv    *csv.Writer
	rows   int
	table  *table
}

// NewList begins a list. An empty one prints nothing, in JSON an empty array.
func NewList(w io.Writer, f Format) *List {
	l := &List{w: bufio.NewWriter(w), format: f}
	switch f {
	case CSV:
		l.csv = csv.NewWriter(l.w)
	case Table:
		l.table = &table{w: l.w}
	}
	return l
}

// Rows is the number of rows so far.
func (l *List) Rows() int { return l.rows }

// Row prints one thing. All rows have the same fields.
func (l *List) Row(r Record) error {
	l.rows++
	switch l.format {
	case JSON:
		return l.jsonRow(r)
	case JSONLines:
		return writeJSON(l.w, r, false)
	case CSV:
		return l.csvRow(r.flat())
	case Raw:
		return l.rawRow(r.flat())
	}
	return l.table.row(r.flat())
}

func (l *List) jsonRow(r Record) error {
	before := ",\n  "
	if l.rows == 1 {
		before = "[\n  "
	}
	b, err := marshal(r)
	if err != nil {
		return err
	}
	_, _ = l.w.WriteString(before) // a bufio.Writer keeps its error
	_, err = l.w.Write(b)
	return err
}

func (l *List) csvRow(r Record) error {
	names, values := make([]string, len(r)), make([]string, len(r))
	for i, f := range r {
		names[i], _ = f.plain()
		values[i] = text(f.Value, true)
	}
	if l.rows == 1 {
		if err := l.csv.Write(names); err != nil {
			return err
		}
	}
	return l.csv.Write(values)
}

func (l *List) rawRow(r Record) error {
	for i, f := range r {
		if i > 0 {
			_ = l.w.WriteByte('\t')
		}
		if b, ok := f.Value.(Bytes); ok {
			_, _ = l.w.Write(b)
		} else {
			_, _ = l.w.WriteString(text(f.Value, true))
		}
	}
	return l.w.WriteByte('\n')
}

// Flush brings out what has been printed so far.
func (l *List) Flush() error {
	if l.table != nil {
		l.table.flush()
	}
	if l.csv != nil {
		l.csv.Flush()
	}
	return l.w.Flush()
}

// Close ends the list.
func (l *List) Close() error {
	if l.format == JSON {
		end := "\n]\n"
		if l.rows == 0 {
			end = "[]\n"
		}
		_, _ = l.w.WriteString(end)
	}
	return l.Flush()
}
