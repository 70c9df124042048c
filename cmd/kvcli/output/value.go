package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/kv"
)

// Bytes is a key or a value.
type Bytes []byte

// inBase64 is the form in JSON of bytes that are not UTF-8.
type inBase64 struct {
	B64 []byte `json:"b64"`
}

// MarshalJSON writes a string, or an object with base64 where the bytes are not UTF-8.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return marshal(string(b))
	}
	return marshal(inBase64{b})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err == nil {
		*b = Bytes(s)
		return nil
	}
	var o struct {
		B64 *[]byte `json:"b64"`
	}
	if err := json.Unmarshal(text, &o); err != nil || o.B64 == nil {
		return fmt.Errorf(`bytes are a string, or {"b64":"..."} with base64; this is %.40s`, text)
	}
	*b = *o.B64
	return nil
}

// Field is one named value: nil, Bytes, string, bool, an integer, a float64, kv.Timestamp,
// time.Duration, *time.Duration (nil: not known), time.Time, Record, []Record, []string or []Bytes.
type Field struct {
	Name  string
	Value any
}

// Record is one thing that was found.
type Record []Field

// MarshalJSON keeps the order of the fields.
func (r Record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		name, value := f.plain()
		fmt.Fprintf(&b, "%q:", name)
		text, err := marshal(value)
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escapes that are meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// plain is the name and the value of a field as data: durations are milliseconds, and
// timestamps are text, because they do not fit into the numbers of JSON.
func (f Field) plain() (string, any) {
	switch v := f.Value.(type) {
	case time.Duration:
		return f.Name + "_ms", float64(v) / float64(time.Millisecond)
	case *time.Duration:
		if v == nil {
			return f.Name + "_ms", nil
		}
		return Field{f.Name, *v}.plain()
	case kv.Timestamp:
		return f.Name, strconv.FormatUint(uint64(v), 10)
	case time.Time:
		return f.Name, v.UTC().Format(time.RFC3339Nano)
	case []Record:
		if v == nil {
			return f.Name, []Record{}
		}
	case []string:
		if v == nil {
			return f.Name, []string{}
		}
	case []Bytes:
		if v == nil {
			return f.Name, []Bytes{}
		}
	}
	return f.Name, f.Value
}

// flat is the record without nested ones: their fields get the outer name before them.
func (r Record) flat() Record {
	out := make(Record, 0, len(r))
	for _, f := range r {
		if inner, ok := f.Value.(Record); ok {
			for _, g := range inner.flat() {
				out = append(out, Field{f.Name + "." + g.Name, g.Value})
			}
			continue
		}
		out = append(out, f)
	}
	return out
}

// text is a value on one line that is safe to show. data asks for the form for programs.
func text(value any, data bool) string {
	switch v := value.(type) {
	case nil:
		return ""
	case Bytes:
		return literal.Format(v)
	case string:
		return printable(v)
	case kv.Timestamp:
		if data {
			return strconv.FormatUint(uint64(v), 10)
		}
		return v.String()
	case time.Duration:
		if data {
			return strconv.FormatFloat(float64(v)/float64(time.Millisecond), 'f', -1, 64)
		}
		return roundDuration(v).String()
	case *time.Duration:
		if v == nil {
			return ""
		}
		return text(*v, data)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case float64:
		if data {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'f', 1, 64)
	case []string:
		return printable(strings.Join(v, "; "))
	case []Bytes:
		parts := make([]string, len(v))
		for i, b := range v {
			parts[i] = literal.Format(b)
		}
		return strings.Join(parts, ",")
	case []Record:
		parts := make([]string, len(v))
		for i, r := range v {
			parts[i] = r.short(data)
		}
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(value)
}

// short is a record as one word: 1=voter.
func (r Record) short(data bool) string {
	parts := make([]string, len(r))
	for i, f := range r.flat() {
		parts[i] = text(f.Value, data)
	}
	return strings.Join(parts, "=")
}

// printable replaces what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// roundDuration leaves three or four digits, which is what people read.
func roundDuration(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 10_000 {
		unit *= 10
	}
	return d.Round(unit)
}
