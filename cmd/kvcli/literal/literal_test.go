package literal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/kvd-db/kvd/kv"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", `""`},
		{"user:17/name", "user:17/name"},
		{"größe", "größe"},
		{"a b", `"a b"`},
		{"a,b", `"a,b"`},
		{"-", `"-"`},
		{"-x", `"-x"`},
		{"@file", `"@file"`},
		{"a@b", "a@b"},
		{"#1", `"#1"`},
		{"a#1", `"a#1"`},
		{"0x41", `"0x41"`},
		{"b64:QQ==", `"b64:QQ=="`},
		{"line\nnext\r\t\"\\", `"line\nnext\r\t\"\\"`},
		{"caf\xe9 au lait", `"caf\xe9 au lait"`},
		{"\u202eevil", `"\xe2\x80\xaeevil"`},
		{"\x00\x01\x02\xff", "0x000102ff"},
		{"\ufffd", "\"\ufffd\""},
	} {
		if got := Format([]byte(c.in)); got != c.want {
			t.Errorf("Format(%q) = %s, want %s", c.in, got, c.want)
		}
	}
	if got := Quote([]byte("a")); got != `"a"` {
		t.Errorf("Quote(a) = %s", got)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"word", "word"},
		{`{"a":1}`, `{"a":1}`},
		{`"a b"`, "a b"},
		{`"\x00\n\r\t\"\\"`, "\x00\n\r\t\"\\"},
		{`""`, ""},
		{"0x", ""},
		{"0x00Ff", "\x00\xff"},
		{"b64:AP8=", "\x00\xff"},
		{"b64:AP8", "\x00\xff"},
		{"b64:", ""},
	} {
		got, err := Parse(c.in)
		if err != nil || string(got) != c.want {
			t.Errorf("Parse(%s) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{`"a`, `"a"b`, `"\q"`, `"\`, `"\x4"`, `"\x4`, `"\xzz"`, "0x0", "0xzz", "b64:!!!", "b64:A"} {
		if got, err := Parse(in); kv.KindOf(err) != kv.Invalid {
			t.Errorf("Parse(%s) = %q, %v, want an error of kind Invalid", in, got, err)
		}
	}
}

func TestSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	if err := os.WriteFile(path, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Source{Stdin: strings.NewReader("from a stream")}
	if b, err := s.Parse("@" + path); err != nil || string(b) != "from a file\n" {
		t.Errorf("@file = %q, %v", b, err)
	}
	if b, err := s.Parse("-"); err != nil || string(b) != "from a stream" {
		t.Errorf("- = %q, %v", b, err)
	}
	if b, err := s.Parse("-"); kv.KindOf(err) != kv.Invalid {
		t.Errorf("the second - = %q, %v, want an error", b, err)
	}
	if _, err := s.Parse("@" + path + ".none"); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a missing file: %v", err)
	}
	small := &Source{BytesMax: 4}
	if _, err := small.Parse("@" + path); err == nil {
		t.Error("a file over the limit was taken")
	}
}

func TestParsePrefix(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"us", "us"},
		{`"a b`, "a b"},
		{`"a b\`, "a b"},
		{`"a b\x4`, "a b"},
		{`"a b"`, "a b"},
		{"0x616", "a"},
		{"0x", ""},
		{"b64:YWJjZG", "abc"},
	} {
		if got, err := ParsePrefix(c.in); err != nil || string(got) != c.want {
			t.Errorf("ParsePrefix(%s) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  # only a comment", nil},
		{"put k v # why", []string{"put", "k", "v"}},
		{"put k v#w", []string{"put", "k", "v#w"}},
		{"put\t\"a b\"  \"\\\" # no comment\"\r", []string{"put", `"a b"`, `"\" # no comment"`}},
		{`scan --from="a b" x`, []string{"scan", `--from="a b"`, "x"}},
		{`put k {"a":"b c"}`, []string{"put", "k", `{"a":"b c"}`}},
	} {
		words, err := Split(c.in)
		var got []string
		for _, w := range words {
			got = append(got, w.Text)
			if !strings.HasPrefix(c.in[w.Start:], w.Text) {
				t.Errorf("Split(%q): %q does not start at %d", c.in, w.Text, w.Start)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Split(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	words, err := Split(`get "a b`)
	if kv.KindOf(err) != kv.Invalid || len(words) != 2 || words[1].Text != `"a b` {
		t.Errorf("an open quote: %v, %v", words, err)
	}
}

func TestSplitList(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{`a,"b,c",0x00`, []string{"a", `"b,c"`, "0x00"}},
		{`"\",",b`, []string{`"\","`, "b"}},
		{"a,,b", []string{"a", "", "b"}},
	} {
		if got := SplitList(c.in); !slices.Equal(got, c.want) {
			t.Errorf("SplitList(%s) = %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzPrintedCanBeTypedBack(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "\x00\xff", "0x41", "b64:AA", "@f", "-", "#", "é\u202e", "a\\\"b", "a,b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, word := range []string{Format(b), Quote(b)} {
			got, err := Parse(word)
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%q is printed as %s, which parses as %q, %v", b, word, got, err)
			}
			words, err := Split("x " + word + " y")
			if err != nil || len(words) != 3 || words[1].Text != word {
				t.Fatalf("%q is printed as %s, which splits into %v, %v", b, word, words, err)
			}
			if list := SplitList(word + "," + word); len(list) != 2 || list[0] != word {
				t.Fatalf("%q is printed as %s, which as a list is %q", b, word, list)
			}
			src := Source{}
			if got, err := src.Parse(word); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%s reads something else: %q, %v", word, got, err)
			}
			if i := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Fatalf("%q is printed with a character that cannot be seen: %q", b, word)
			}
		}
	})
}

func FuzzTypedCanBePrinted(f *testing.F) {
	for _, s := range []string{"", "a", `"a b"`, "0x00", "b64:AP8=", `"\x00`, `a"b c"`, "# c", `"a"b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		for i, w := range words {
			if err != nil && i == len(words)-1 {
				break
			}
			b, err := Parse(w.Text)
			if err != nil {
				if kv.KindOf(err) != kv.Invalid {
					t.Fatalf("%q: %v is not of kind Invalid", w.Text, err)
				}
				continue
			}
			again, err := Parse(Format(b))
			if err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%q is %q, printed %s, parsed %q, %v", w.Text, b, Format(b), again, err)
			}
		}
		for n := range line {
			_, _ = ParsePrefix(line[:n]) // must not panic whatever is typed so far
		}
	})
}
