package output

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"

	"github.com/mattn/go-runewidth"
)

// tableAhead is how many rows are collected before the first is printed: they give the
// widths of the columns. Later rows may stand out, but nothing has to wait for them.
const tableAhead = 256

// columnWidthMax keeps one long value from pushing the columns after it out of sight.
const columnWidthMax = 48

// table lays out rows in columns.
type table struct {
	w       *bufio.Writer
	waiting [][]string
	widths  []int // set once the first rows are out
}

func (t *table) row(r Record) error {
	if t.widths == nil && len(t.waiting) == 0 {
		names := make([]string, len(r))
		for i, f := range r {
			names[i] = strings.ToUpper(strings.ReplaceAll(f.Name, "_", " "))
		}
		t.waiting = append(t.waiting, names)
	}
	cells := make([]string, len(r))
	for i, f := range r {
		cells[i] = cell(f.Value)
	}
	t.waiting = append(t.waiting, cells)
	if t.widths != nil || len(t.waiting) > tableAhead {
		return t.flush()
	}
	return nil
}

// flush prints what is waiting.
func (t *table) flush() error {
	if t.widths == nil && len(t.waiting) > 0 {
		t.widths = widthsOf(t.waiting)
	}
	for _, cells := range t.waiting {
		for i, c := range cells {
			if i < len(cells)-1 {
				c = runewidth.FillRight(c, t.widths[i]+2)
				if !strings.HasSuffix(c, " ") {
					c += "  "
				}
			}
			_, _ = t.w.WriteString(c)
		}
		_ = t.w.WriteByte('\n')
	}
	t.waiting = t.waiting[:0]
	return t.w.Flush()
}

func widthsOf(rows [][]string) []int {
	widths := []int{}
	for _, cells := range rows {
		for i, c := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], min(columnWidthMax, runewidth.StringWidth(c)))
		}
	}
	return widths
}

// indented is JSON text over several lines.
func indented(b []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return b
	}
	return out.Bytes()
}
