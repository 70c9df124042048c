//go:build mutants

package partition

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kvd-db/kvd/invariant"
)

// notInStories are planted bugs of this package that stories cannot show, and why.
var notInStories = map[invariant.Mutant]string{
	"PCTimeout":      "it is right as well (P8), and no rule is off",
	"QueueUnbounded": "no rule of transactions is off; TestOverload shows it",
}

// TestStoriesShowMutants: each planted bug of this package and of txn changes a story that says that it shows
// a rule which names the bug.
func TestStoriesShowMutants(t *testing.T) {
	defer invariant.Plant("")
	paths, err := filepath.Glob("testdata/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	rules := rulesByMutant(t)
	for _, m := range plantedHere(t) {
		var changed, shown []string
		for _, path := range paths {
			where := deviation(t, path, m)
			if where == "" {
				continue
			}
			changed = append(changed, path)
			if slices.ContainsFunc(shows(t, path), func(rule string) bool { return slices.Contains(rules[m], rule) }) {
				shown = append(shown, where)
			}
		}
		switch why := notInStories[m]; {
		case why != "" && len(changed) > 0:
			t.Errorf("%s is shown by %v", m, changed)
		case why == "" && len(changed) == 0:
			t.Errorf("%s, of the rules %v, changes no story", m, rules[m])
		case len(rules[m]) > 0 && why == "" && len(shown) == 0:
			t.Errorf("%s changes %v, of which none shows one of the rules %v", m, changed, rules[m])
		}
		t.Logf("%s %v: %d stories, such as %v", m, rules[m], len(changed), shown[:min(1, len(shown))])
	}
}

// plantedHere are the planted bugs that this package and txn have a place for.
func plantedHere(t *testing.T) []invariant.Mutant {
	t.Helper()
	found := map[invariant.Mutant]bool{}
	for _, pattern := range []string{"*.go", "../txn/*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			for _, m := range regexp.MustCompile(`invariant\.Mutated\(invariant\.(\w+)\)`).FindAllStringSubmatch(readFile(t, f), -1) {
				found[invariant.Mutant(m[1])] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// rulesByMutant are the rules that name a planted bug in brackets.
func rulesByMutant(t *testing.T) map[invariant.Mutant][]string {
	t.Helper()
	named := map[invariant.Mutant][]string{}
	rule := ""
	for _, line := range strings.Split(readFile(t, "../docs/design/transactions.md"), "\n") {
		if m := regexp.MustCompile(`^\s*(?:\*\*)?([A-P]\d+b?)\. `).FindStringSubmatch(line); m != nil {
			rule = m[1]
		}
		for _, b := range regexp.MustCompile(`\[([^\]]*)\]`).FindAllStringSubmatch(line, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(b[1], -1) {
				named[invariant.Mutant(name)] = append(named[invariant.Mutant(name)], rule)
			}
		}
	}
	return named
}

// shows are the rules that a story says that it shows: package sim has the test of that line's form.
func shows(t *testing.T, path string) []string {
	t.Helper()
	if m := regexp.MustCompile(`(?m)^# Shows (.*)\.$`).FindStringSubmatch(readFile(t, path)); m != nil {
		return strings.Split(m[1], ", ")
	}
	return nil
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// deviation is where a story first goes another way with a planted bug; "" if it does not.
func deviation(t *testing.T, path string, m invariant.Mutant) (where string) {
	t.Helper()
	invariant.Plant(m)
	defer func() {
		if r := recover(); r != nil {
			where = fmt.Sprint(r)
		}
	}()
	quiet := giveUp{t}
	s := newStory(quiet, path)
	datadriven.RunTestAny(quiet, path, func(_ testing.TB, d *datadriven.TestData) string {
		if got := s.step(d); got != d.Expected {
			panic(fmt.Sprintf("%s: %s", d.Pos, strings.ReplaceAll(got, "\n", "; ")))
		}
		return d.Expected
	})
	return ""
}

// giveUp is a test that a story which cannot go on does not fail, and that hears nothing of its steps.
type giveUp struct{ testing.TB }

func (giveUp) Logf(string, ...any) {}

func (giveUp) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (giveUp) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
