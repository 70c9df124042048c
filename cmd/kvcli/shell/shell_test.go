package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// typist types lines; "^C" and "^D" are what they say.
type typist struct {
	lines   []string
	history []string
}

func (y *typist) ReadLine(string) (string, error) {
	if len(y.lines) == 0 {
		return "", io.EOF
	}
	line := y.lines[0]
	y.lines = y.lines[1:]
	switch line {
	case "^C":
		return "", ErrInterrupted
	case "^D":
		return "", io.EOF
	}
	return line, nil
}

func (y *typist) Remember(line string) { y.history = append(y.history, line) }

func newPrompt(y *typist, talk io.Writer, execute func(context.Context, []string) (string, error)) *Prompt {
	return &Prompt{
		Terminal: y, Talk: talk, Text: func() string { return "> " }, Execute: execute, Explain: error.Error,
		Interruptible: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
	}
}

func TestPrompt(t *testing.T) {
	y := &typist{lines: []string{"one  \"a b\"", "", "# nothing", "^C", " hidden", "bad", "\"open", "^D", "never"}}
	var talk bytes.Buffer
	var ran [][]string
	p := newPrompt(y, &talk, func(_ context.Context, words []string) (string, error) {
		ran = append(ran, words)
		if words[0] == "bad" {
			return "", kv.Errorf(kv.Invalid, "that is bad")
		}
		return "3 rows", nil
	})
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 3 || !slices.Equal(ran[0], []string{"one", `"a b"`}) {
		t.Errorf("what ran was %q", ran)
	}
	if strings.Count(talk.String(), "(3 rows, ") != 2 || strings.Count(talk.String(), " ms)") != 3 || !strings.Contains(talk.String(), "that is bad") || !strings.Contains(talk.String(), "closing quote") {
		t.Errorf("the talk was\n%s", &talk)
	}
	if !slices.Equal(y.history, []string{"one  \"a b\"", "bad", "\"open"}) {
		t.Errorf("the history is %q", y.history)
	}
	if !slices.Equal(y.lines, []string{"never"}) {
		t.Errorf("after Ctrl-D %q are left", y.lines)
	}
}

func TestInterruptEndsTheCommandOnly(t *testing.T) {
	y := &typist{lines: []string{"slow", "next"}}
	var talk bytes.Buffer
	var ran []string
	var interrupt context.CancelFunc
	p := newPrompt(y, &talk, func(ctx context.Context, words []string) (string, error) {
		ran = append(ran, words[0])
		if words[0] == "slow" {
			interrupt() // Ctrl-C while it runs
		}
		return "", ctx.Err()
	})
	p.Interruptible = func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, interrupt = context.WithCancel(ctx)
		return ctx, interrupt
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ran, []string{"slow", "next"}) || strings.Count(talk.String(), "context canceled") != 1 {
		t.Errorf("%q ran, the talk was\n%s", ran, &talk)
	}
}

func TestExit(t *testing.T) {
	y := &typist{lines: []string{"exit", "never"}}
	var talk bytes.Buffer
	p := newPrompt(y, &talk, func(context.Context, []string) (string, error) { return "", ErrExit })
	if err := p.Run(t.Context()); err != nil || len(y.lines) != 1 || talk.Len() != 0 {
		t.Errorf("%v, left %q, talk %q", err, y.lines, &talk)
	}
}

func TestBrokenTerminal(t *testing.T) {
	broken := errors.New("the terminal is gone")
	p := newPrompt(nil, io.Discard, nil)
	p.Terminal = brokenTerminal{broken}
	if err := p.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}

type brokenTerminal struct{ err error }

func (b brokenTerminal) ReadLine(string) (string, error) { return "", b.err }
func (b brokenTerminal) Remember(string)                 {}

func runScript(t *testing.T, text string, keepGoing bool) (ran []string, talk string, err error) {
	t.Helper()
	var b bytes.Buffer
	s := &Script{
		Talk: &b, Explain: error.Error, KeepGoing: keepGoing,
		Execute: func(_ context.Context, words []string) error {
			ran = append(ran, strings.Join(words, " "))
			switch words[0] {
			case "fail":
				return kv.Errorf(kv.NotFound, "failed")
			case "worse":
				return kv.Errorf(kv.Unavailable, "worse")
			case "exit":
				return ErrExit
			}
			return nil
		},
	}
	err = s.Run(t.Context(), strings.NewReader(text))
	return ran, b.String(), err
}

func TestScript(t *testing.T) {
	for _, c := range []struct {
		text      string
		keepGoing bool
		ran       string
		talk      string
		kind      kv.Kind
	}{
		{"a 1\r\n# c\n\n  b # d\nc", false, "a 1|b|c", "", 0},
		{"a\nfail\nb", false, "a|fail", "line 2: not found: failed\n", kv.NotFound},
		{"fail\nworse\nb", true, "fail|worse|b", "line 1: not found: failed\nline 2: unavailable: worse\n", kv.NotFound},
		{"a \"x\nb", false, "", "line 1: ", kv.Invalid},
		{"a\nexit\nb", false, "a|exit", "", 0},
		{"fail\nexit\nb", true, "fail|exit", "line 1: not found: failed\n", kv.NotFound},
		{"", false, "", "", 0},
	} {
		ran, talk, err := runScript(t, c.text, c.keepGoing)
		if strings.Join(ran, "|") != c.ran || !strings.HasPrefix(talk, c.talk) || kv.KindOf(err) != c.kind {
			t.Errorf("%q: ran %q, talk %q, %v", c.text, ran, talk, err)
		}
	}
}

// TestInterruptedScript: what comes in after Ctrl-C is not run, and its end is no success.
func TestInterruptedScript(t *testing.T) {
	for _, text := range []string{"a\nb\n", "a\n", "a"} {
		var talk bytes.Buffer
		ctx, interrupt := context.WithCancel(t.Context())
		ran := 0
		s := &Script{Talk: &talk, Explain: error.Error, KeepGoing: true, Execute: func(context.Context, []string) error {
			ran++
			interrupt() // before the next line is there
			return nil
		}}
		if err := s.Run(ctx, strings.NewReader(text)); kv.KindOf(err) != kv.Canceled || ran != 1 || talk.String() != "line 2: canceled: interrupted\n" {
			t.Errorf("%q: %v, %d ran, said %q", text, err, ran, &talk)
		}
	}
}

// TestInterruptAfterAnError: that a script was interrupted counts for more than what failed before, but less than a
// commit whose outcome is unknown.
func TestInterruptAfterAnError(t *testing.T) {
	for _, c := range []struct {
		first, second, want kv.Kind // 0: no error
	}{
		{kv.NotFound, kv.Canceled, kv.Canceled},
		{kv.NotFound, 0, kv.Canceled},
		{kv.NotFound, kv.Invalid, kv.Canceled},
		{kv.Ambiguous, kv.Canceled, kv.Ambiguous},
		{kv.Expired, kv.Canceled, kv.Expired},
		{kv.NotFound, kv.Ambiguous, kv.Ambiguous},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		s := &Script{Talk: io.Discard, Explain: error.Error, KeepGoing: true, Execute: func(_ context.Context, words []string) error {
			kind := c.first
			if words[0] == "second" {
				interrupt()
				kind = c.second
			}
			if kind == 0 {
				return nil
			}
			return kv.Errorf(kind, "failed")
		}}
		if err := s.Run(ctx, strings.NewReader("first\nsecond\nnever\n")); kv.KindOf(err) != c.want {
			t.Errorf("%v, then %v: %v, want %v", c.first, c.second, err, c.want)
		}
	}
}

func TestLongLines(t *testing.T) {
	long := "put k " + strings.Repeat("x", 200<<10)
	ran, _, err := runScript(t, long+"\nnext", false)
	if err != nil || len(ran) != 2 || len(ran[0]) != len(long) {
		t.Errorf("a line of 200 KiB: %d ran, %v", len(ran), err)
	}
	_, talk, err := runScript(t, strings.Repeat("x", LineBytesMax+1)+"\nnext", true)
	if kv.KindOf(err) != kv.Invalid || !strings.Contains(talk, "@file") {
		t.Errorf("a line above the limit: %v, %s", err, talk)
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		line    string
		pos     int
		words   []string
		partial string
		head    string
		tail    string
	}{
		{"", 0, nil, "", "", ""},
		{"sc", 2, nil, "sc", "", ""},
		{"scan ", 5, []string{"scan"}, "", "scan ", ""},
		{"scan us er", 7, []string{"scan"}, "us", "scan ", " er"},
		{`get "a b`, 8, []string{"get"}, `"a b`, "get ", ""},
		{"ü é x", 3, []string{"ü"}, "é", "ü ", " x"},
		{"get k", 99, []string{"get"}, "k", "get ", ""},
	} {
		head, list, tail := Complete(c.line, c.pos, func(words []string, partial string) []string {
			if !slices.Equal(words, c.words) || partial != c.partial {
				t.Errorf("%q at %d: words %q, partial %q", c.line, c.pos, words, partial)
			}
			return []string{"X"}
		})
		if head != c.head || tail != c.tail || len(list) != 1 {
			t.Errorf("%q at %d: %q %q", c.line, c.pos, head, tail)
		}
	}
}

func FuzzComplete(f *testing.F) {
	f.Add("get k", 3)
	f.Add("get \"a b # c\\", 7)
	f.Fuzz(func(t *testing.T, line string, pos int) {
		line = strings.ToValidUTF8(line, "?")
		head, _, tail := Complete(line, pos, func([]string, string) []string { return nil })
		if !strings.HasPrefix(line, head) || !strings.HasSuffix(line, tail) || len(head)+len(tail) > len(line) {
			t.Fatalf("%q at %d: head %q, tail %q", line, pos, head, tail)
		}
	})
}
