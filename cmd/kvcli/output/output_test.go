package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kvd-db/kvd/kv"
)

func sample() Record {
	return Record{
		{"key", Bytes("a b\x00\n")},
		{"raw", Bytes("\xff\xfe")},
		{"version", kv.Timestamp(470679552000000001)},
		{"took", 1500 * time.Microsecond},
		{"at", time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)},
		{"share", 0.25},
		{"n", 7},
		{"text", "two\nlines\x1b[31m"},
		{"nodes", Record{{"live", 2}, {"dead", 0}}},
		{"replicas", []Record{{{"node", 1}, {"role", "voter"}}, {{"node", 2}, {"role", "learner"}}}},
		{"why", []string{"one", "two"}},
		{"none", []string(nil)},
	}
}

func TestOne(t *testing.T) {
	for format, want := range map[Format]string{
		JSONLines: `{"key":"a b\u0000\n","raw":{"b64":"//4="},"version":"470679552000000001","took_ms":1.5,"at":"2026-11-24T10:00:00Z","share":0.25,"n":7,"text":"two\nlines\u001b[31m","nodes":{"live":2,"dead":0},"replicas":[{"node":1,"role":"voter"},{"node":2,"role":"learner"}],"why":["one","two"],"none":[]}` + "\n",
		CSV: "key,raw,version,took_ms,at,share,n,text,nodes.live,nodes.dead,replicas,why,none\n" +
			`"""a b\x00\n""",0xfffe,470679552000000001,1.5,2026-11-24T10:00:00Z,0.25,7,two lines [31m,2,0,1=voter 2=learner,one; two,` + "\n",
		Table: "key         \"a b\\x00\\n\"\nraw         0xfffe\nversion     470679552000000001@2026-11-24T06:00:00.000Z\ntook        1.5ms\nat          2026-11-24T10:00:00Z\nshare       0.2\nn           7\ntext        two lines [31m\nnodes.live  2\nnodes.dead  0\nreplicas    1=voter 2=learner\nwhy         one; two\nnone        \n",
		Raw:   "a b\x00\n\t\xff\xfe\t470679552000000001\t1.5\t2026-11-24T10:00:00Z\t0.25\t7\ttwo lines [31m\t2\t0\t1=voter 2=learner\tone; two\t\n",
	} {
		var b bytes.Buffer
		if err := One(&b, format, sample()); err != nil || b.String() != want {
			t.Errorf("%s, %v:\n%s\nwant\n%s", format, err, &b, want)
		}
	}
	var b bytes.Buffer
	if err := One(&b, JSON, Record{{"a", 1}, {"b", Record{{"c", "<&>"}}}}); err != nil || b.String() != "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": \"<&>\"\n  }\n}\n" {
		t.Errorf("JSON, %v:\n%s", err, &b)
	}
}

// A column has one name, whether its durations are known or not.
func TestUnknownDurations(t *testing.T) {
	known := 1500 * time.Microsecond
	for format, want := range map[Format]string{
		JSONLines: "{\"took_ms\":null}\n{\"took_ms\":1.5}\n", CSV: "took_ms\n\n1.5\n", Table: "TOOK\n\n1.5ms\n", Raw: "\n1.5\n",
	} {
		var b bytes.Buffer
		l := NewList(&b, format)
		for _, d := range []*time.Duration{nil, &known} {
			if err := l.Row(Record{{"took", d}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil || b.String() != want {
			t.Errorf("%s, %v: %q, want %q", format, err, &b, want)
		}
	}
}

// Whatever a value holds, a table shows only characters that can be seen, on one line.
func TestTablesAreSafe(t *testing.T) {
	var nasty []byte
	for c := range 256 {
		nasty = append(nasty, byte(c))
	}
	nasty = append(nasty, "\u202e\u200b\u2028"...)
	var b bytes.Buffer
	l := NewList(&b, Table)
	if err := errors.Join(l.Row(Record{{"k", Bytes(nasty)}, {"s", string(nasty)}}), l.Close()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != 2 {
		t.Errorf("one row became several lines:\n%q", b.String())
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("the table holds %q", r)
		}
	}
}

func TestList(t *testing.T) {
	row := func(i int) Record { return Record{{"key", Bytes(fmt.Sprint("k", i))}, {"n", i}} }
	for format, want := range map[Format]string{
		JSON:      "[\n  {\"key\":\"k0\",\"n\":0},\n  {\"key\":\"k1\",\"n\":1}\n]\n",
		JSONLines: "{\"key\":\"k0\",\"n\":0}\n{\"key\":\"k1\",\"n\":1}\n",
		CSV:       "key,n\nk0,0\nk1,1\n",
		Raw:       "k0\t0\nk1\t1\n",
		Table:     "KEY  N\nk0   0\nk1   1\n",
	} {
		var b bytes.Buffer
		l := NewList(&b, format)
		if err := errors.Join(l.Row(row(0)), l.Row(row(1)), l.Close()); err != nil || b.String() != want || l.Rows() != 2 {
			t.Errorf("%s, %v:\n%s\nwant\n%s", format, err, &b, want)
		}
		b.Reset()
		empty := ""
		if format == JSON {
			empty = "[]\n"
		}
		if err := NewList(&b, format).Close(); err != nil || b.String() != empty {
			t.Errorf("%s of nothing, %v: %q", format, err, &b)
		}
	}
}

// A table that never ends is printed as it comes; rows that come later fit as far as they can.
func TestLongTable(t *testing.T) {
	var b bytes.Buffer
	l := NewList(&b, Table)
	for i := range tableAhead + 10 {
		key := "k"
		if i == tableAhead+5 {
			key = "a-key-that-is-much-longer-than-the-column"
		}
		if err := l.Row(Record{{"key", Bytes(key)}, {"n", i}}); err != nil {
			t.Fatal(err)
		}
		if i == tableAhead && b.Len() == 0 {
			t.Error("nothing was printed after the first rows")
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != tableAhead+11 || !strings.HasPrefix(lines[tableAhead+6], "a-key-that-is-much-longer-than-the-column  261") {
		t.Errorf("%d lines, %q", len(lines), lines[tableAhead+6])
	}
}

func TestWideCharacters(t *testing.T) {
	var b bytes.Buffer
	l := NewList(&b, Table)
	if err := errors.Join(l.Row(Record{{"k", Bytes("世界")}, {"v", 1}}), l.Row(Record{{"k", Bytes("ab")}, {"v", 2}}), l.Close()); err != nil {
		t.Fatal(err)
	}
	if b.String() != "K     V\n世界  1\nab    2\n" {
		t.Errorf("the table is\n%s", &b)
	}
}

func TestLongValuesAreCutVisibly(t *testing.T) {
	for _, v := range [][]byte{bytes.Repeat([]byte("x"), 5000), bytes.Repeat([]byte("é "), 3000)} {
		var b bytes.Buffer
		l := NewList(&b, Table)
		if err := errors.Join(l.Row(Record{{"v", Bytes(v)}}), l.Close()); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 1200 || !strings.Contains(b.String(), "... (cut; -o jsonl shows all)") || strings.ContainsRune(b.String(), '\ufffd') {
			t.Errorf("%d bytes are shown as %d: %.40s", len(v), b.Len(), &b)
		}
	}
}

func TestCSVCanBeRead(t *testing.T) {
	var b bytes.Buffer
	l := NewList(&b, CSV)
	if err := errors.Join(l.Row(Record{{"k", Bytes("a,\"b\"\n")}, {"v", Bytes("")}}), l.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != `"a,\"b\"\n"` || rows[1][1] != `""` {
		t.Errorf("%q, %v", rows, err)
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(f); err != nil || string(got) != f {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("yaml"); kv.KindOf(err) != kv.Invalid {
		t.Errorf("yaml: %v", err)
	}
}

func FuzzBytes(f *testing.F) {
	f.Add([]byte("text"))
	f.Add([]byte("\xff\x00"))
	f.Add([]byte(`{"b64":"AA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := json.Marshal(Bytes(b))
		if err != nil {
			t.Fatal(err)
		}
		var back Bytes
		if err := json.Unmarshal(text, &back); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q is %s, which is %q, %v", b, text, back, err)
		}
	})
}
