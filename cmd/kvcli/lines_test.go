package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/cmd/kvcli/shell"
)

func TestShellCompletion(t *testing.T) {
	a := newTestApp("")
	for _, sh := range []string{"bash", "zsh", "fish"} {
		if out := a.must(t, "completion", sh); !strings.Contains(out, "kvcli") {
			t.Errorf("completion %s: %.80s", sh, out)
		}
	}
	a.must(t, "put", "user:1", "v")
	a.must(t, "put", "user 2", "v")
	if out := a.must(t, "__complete", "get", "us"); !strings.HasPrefix(out, "user:1\n:") {
		t.Errorf("keys in a shell: %q, want only the one without quotes", out)
	}
	if out := a.must(t, "__complete", "explain", "get", "us"); !strings.HasPrefix(out, "user:1\n:") {
		t.Errorf("keys of what is explained: %q", out)
	}
	if out := a.must(t, "__complete", "get", "k", "-o", ""); !strings.Contains(out, "jsonl") {
		t.Errorf("formats: %q", out)
	}
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.kv")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			a := newTestApp(string(text))
			var both bytes.Buffer // in the order in which a person would see it
			a.app.out, a.app.err = &prefixed{w: &both}, &prefixed{w: &both, prefix: "! "}
			var args []string
			if first, _, _ := strings.Cut(string(text), "\n"); strings.HasPrefix(first, "# kvcli") {
				args = strings.Fields(first)[2:]
			}
			code := a.report(t.Context(), args)
			fmt.Fprintf(&both, "exit code %d\n", code)
			golden := strings.TrimSuffix(path, ".kv") + ".golden"
			if *update {
				if err := os.WriteFile(golden, both.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(both.Bytes(), want) {
				t.Errorf("%s gives\n%s\nwant\n%s", path, &both, want)
			}
		})
	}
}

// prefixed puts a prefix before each line.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		fmt.Fprintf(p.w, "%s%s", p.prefix, line)
	}
	return len(b), nil
}

// fakeEditor is a person who types lines and remembers what the prompt looked like.
type fakeEditor struct {
	lines    []string
	prompts  []string
	history  []string
	closed   bool
	complete lineCompleter
}

func (e *fakeEditor) ReadLine(prompt string) (string, error) {
	e.prompts = append(e.prompts, prompt)
	if len(e.lines) == 0 {
		return "", io.EOF
	}
	line := e.lines[0]
	e.lines = e.lines[1:]
	if line == "^C" {
		return "", shell.ErrInterrupted
	}
	return line, nil
}

func (e *fakeEditor) Remember(line string) { e.history = append(e.history, line) }
func (e *fakeEditor) Close() error         { e.closed = true; return nil }

func TestPrompt(t *testing.T) {
	ed := &fakeEditor{lines: []string{"put k \"a b\"", " put secret v", "get k -o raw", "get none", "^C", "use other", "", "# comment", "get \"open", "put k -", "keyspace drop default", "wrong", "exit", "put never v"}}
	a := newTestApp("")
	a.inTTY, a.outTTY, a.ttErr = true, true, true
	a.edit = func(c lineCompleter) (editor, error) { ed.complete = c; return ed, nil }
	out, talk, code := a.run()
	if code != 0 || !ed.closed {
		t.Errorf("exit code %d, closed %v: %s", code, ed.closed, talk)
	}
	if !strings.Contains(out, "a b\n") {
		t.Errorf("get printed %q", out)
	}
	for _, want := range []string{"none: key not found\n", "closing quote", "is not free here", `"wrong" is not "default"`, " ms)\n"} {
		if !strings.Contains(talk, want) {
			t.Errorf("the talk lacks %q:\n%s", want, talk)
		}
	}
	if slices.Contains(ed.history, " put secret v") || !slices.Contains(ed.history, "get none") || slices.Contains(ed.history, "wrong") {
		t.Errorf("the history is %q", ed.history)
	}
	if ed.prompts[0] != "kvd> " || ed.prompts[6] != "kvd:other> " {
		t.Errorf("the prompts were %q", ed.prompts)
	}
	if len(ed.lines) != 1 {
		t.Errorf("exit did not end the prompt: %q are left", ed.lines)
	}
}

func TestPromptCompletion(t *testing.T) {
	ed := &fakeEditor{}
	a := newTestApp("")
	a.inTTY, a.outTTY = true, true
	a.edit = func(c lineCompleter) (editor, error) { ed.complete = c; return ed, nil }
	for _, k := range []string{"user:1", "user:2", "user 3"} {
		a.must(t, "put", k, "v")
	}
	a.run()
	a.mode = modePrompt
	for _, c := range []struct {
		line string
		pos  int
		head string
		list []string
		tail string
	}{
		{"sc", 2, "", []string{"scan "}, ""},
		{"keyspace cr", 11, "keyspace ", []string{"create "}, ""},
		{"get user:", 9, "get ", []string{"user:1", "user:2"}, ""},
		{"get us", 6, "get ", []string{`"user 3"`, "user:1", "user:2"}, ""},
		{`get "user `, 10, "get ", []string{`"user 3" `}, ""},
		{"get user: --at 1", 9, "get ", []string{"user:1", "user:2"}, " --at 1"},
		{"scan --key", 10, "scan ", []string{"--keys-only", "--keyspace"}, ""},
		{"get ü user", 10, "get ü ", nil, ""},
		{"put user:1 ", 11, "put user:1 ", nil, ""},
		{"begin ", 6, "begin ", []string{"ro "}, ""},
		{"begin ro ", 9, "begin ro ", []string{"at "}, ""},
		{"explain sc", 10, "explain ", []string{"scan "}, ""},
		{"explain get user:", 17, "explain get ", []string{"user:1", "user:2"}, ""},
	} {
		head, list, tail := ed.complete(c.line, c.pos)
		slices.Sort(list)
		if head != c.head || !slices.Equal(list, c.list) || tail != c.tail {
			t.Errorf("%q at %d: %q %q %q, want %q %q %q", c.line, c.pos, head, list, tail, c.head, c.list, c.tail)
		}
	}
}

func TestHistoryPath(t *testing.T) {
	env := map[string]string{"HOME": "/h"}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	if got := historyPath(lookup); got != "/h/.local/state/kvcli/history" {
		t.Error(got)
	}
	env["XDG_STATE_HOME"] = "/s"
	if got := historyPath(lookup); got != "/s/kvcli/history" {
		t.Error(got)
	}
	env["KVCLI_HISTORY"] = ""
	if got := historyPath(lookup); got != "" {
		t.Error(got)
	}
	path := filepath.Join(t.TempDir(), "deep", "history")
	if err := writeHistory(path, func(w io.Writer) (int, error) { return w.Write([]byte("get k\n")) }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the history is for %v, %v; want its owner only", info.Mode(), err)
	}
}
