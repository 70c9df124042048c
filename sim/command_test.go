package sim

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := Command()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestCommandPrintsTheSameTwice(t *testing.T) {
	args := []string{"--seed", "7", "--seeds", "2", "--duration", "1s", "--scenario", "hot"}
	first, err := run(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := run(t, args...)
	if err != nil || first != second {
		t.Fatalf("two runs of the same arguments print\n%s\nand\n%s (%v)", first, second, err)
	}
	if n := strings.Count(first, "\n"); n != 2 {
		t.Fatalf("two seeds print %d lines:\n%s", n, first)
	}
}

func TestCommandRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--scenario", "nonsense"},
		{"--workload", "nonsense"},
		{"--nodes", "99"},
		{"--duration", "-1s"},
		{"--mutant", "nonsense"},
		{"--trace", "/nonsense/file"},
		{"mutants", "nonsense"},
	} {
		_, err := run(t, args...)
		if kind := kv.KindOf(err); kind != kv.Invalid && kind != kv.Limit {
			t.Errorf("%q is answered by %v", args, err)
		}
	}
	if !invariant.MutantsBuilt {
		if _, err := run(t, "mutants", "NoMark"); kv.KindOf(err) != kv.Invalid {
			t.Errorf("a binary without planted bugs looks for one: %v", err)
		}
	}
}

// A seed that breaks something is told with its story, and the command fails.
func TestCommandTellsTheStory(t *testing.T) {
	c := base("doomed", "for this test: it ends with a violation")
	c.Duration = 1e9
	c.Script.Act = func(w *World) {
		w.after(500*ms, func() { w.violate("a check", string(w.key(0, "reg", 1)), "it is broken on purpose") })
	}
	cfg := Config{Seed: 1, Scenario: c}
	r := mustRun(t, cfg)
	if r.Violation == nil {
		t.Fatal("the violation is lost")
	}
	told, err := tell(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	text := report(cfg, told)
	for _, want := range []string{"VIOLATION a check at", "it is broken on purpose", "--seed 1", "leads p", "p0/reg001"} {
		if !strings.Contains(text, want) {
			t.Errorf("the story lacks %q:\n%s", want, text)
		}
	}
	if errors.Is(err, ErrViolation) || told.Digest != r.Digest {
		t.Errorf("telling the story changed it: %v, %016x, %016x", err, told.Digest, r.Digest)
	}
}
