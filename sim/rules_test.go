package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	ruleBegins = regexp.MustCompile(`^\s*(?:\*\*)?([A-Z]\d+[a-z]?)\. `)
	ruleID     = regexp.MustCompile(`^[A-Z]\d+[a-z]?$`)
	storyShows = regexp.MustCompile(`(?m)^# Shows(.*)$`)
	testShows  = regexp.MustCompile(`(?m)^Shows ([A-Z]\d.*)$`)
	bracketed  = regexp.MustCompile(`\[([^\]]*)\]`)
	ruleName   = regexp.MustCompile(`^\s*([A-Z][A-Za-z0-9]+)`)
	mutated    = regexp.MustCompile(`invariant\.Mutated\(invariant\.(\w+)\)`)
	constant   = regexp.MustCompile(`Mutant\s*=\s*"(\w+)"`)
)

// named are the names of mutants that the rules give in brackets, with the file.
func named(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	files, err := filepath.Glob("../docs/design/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules found: %v", err)
	}
	for _, f := range files {
		text := read(t, f)
		for _, b := range bracketed.FindAllStringSubmatch(text, -1) {
			for _, piece := range strings.FieldsFunc(b[1], func(r rune) bool { return r == ',' || r == ';' }) {
				if m := ruleName.FindStringSubmatch(piece); m != nil && len(m[1]) > 1 {
					names[m[1]] = f
				}
			}
		}
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// planted are the mutants for which there is a place in the code.
func planted(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") {
			for _, m := range mutated.FindAllStringSubmatch(read(t, path), -1) {
				all[m[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRulesHaveMutants: each name in the rules is that of a planted bug, or it is said why it cannot be; and each planted
// bug is looked for.
func TestRulesHaveMutants(t *testing.T) {
	cases := map[string]bool{}
	for _, c := range Mutants() {
		if cases[string(c.Mutant)] {
			t.Errorf("%s is in the table twice", c.Mutant)
		}
		cases[string(c.Mutant)] = true
	}
	names := named(t)
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if !cases[n] && notPlanted[n] == "" {
			t.Errorf("%s names %s: no planted bug has that name, and nothing says why not", names[n], n)
		}
	}
	for n := range notPlanted {
		if cases[n] || names[n] == "" {
			t.Errorf("%s is planted, or no rule names it", n)
		}
	}
	shown := map[string]bool{} // by tests of the engine, since a simulated view is never open while something is written
	for _, m := range regexp.MustCompile(`invariant\.(\w+): `).FindAllStringSubmatch(read(t, "../mvcc/mutants_test.go"), -1) {
		shown[m[1]] = true
	}
	places := planted(t)
	files, _ := filepath.Glob("../invariant/mutant*.go")
	for _, f := range files {
		for _, m := range constant.FindAllStringSubmatch(read(t, f), -1) {
			if !cases[m[1]] && !shown[m[1]] {
				t.Errorf("%s is in no list: nobody looks for it", m[1])
			}
			if !places[m[1]] {
				t.Errorf("%s is nowhere in the code", m[1])
			}
		}
	}
}

// rules are those of transactions, with whether anything was found that shows them.
func rules(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(read(t, "../docs/design/transactions.md")) {
		if m := ruleBegins.FindStringSubmatch(line); m != nil {
			if _, twice := all[m[1]]; twice {
				t.Errorf("the number %s is given twice", m[1])
			}
			all[m[1]] = false
		}
	}
	for letter, least := range map[string]int{"A": 7, "H": 9, "P": 12} {
		for n := 1; n <= least; n++ {
			if _, ok := all[letter+strconv.Itoa(n)]; !ok {
				t.Fatalf("%s%d is not found among %d rules: they are written another way", letter, n, len(all))
			}
		}
	}
	return all
}

// shown notes the rules of a line "Shows A1, B2."
func shown(t *testing.T, where, list string, all map[string]bool) {
	t.Helper()
	ids, ends := strings.CutSuffix(strings.TrimPrefix(list, " "), ".")
	for _, id := range strings.Split(ids, ", ") {
		if _, ok := all[id]; !ok || !ends || !ruleID.MatchString(id) {
			t.Errorf("%s shows %q: the line names rules, as in \"Shows A1, C5b.\"", where, list)
			continue
		}
		all[id] = true
	}
}

// inTests notes the rules that the tests of a file show, as they say in their comments.
func inTests(t *testing.T, path string, all map[string]bool) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		for _, m := range testShows.FindAllStringSubmatch(fn.Doc.Text(), -1) {
			shown(t, path+": "+fn.Name.Name, m[1], all)
		}
	}
}

// TestRulesHaveStories: each rule of transactions is shown by a story of package partition or by a test, that
// says so in a line of its own: "# Shows A1, C5b." in a story, "// Shows A1, C5b." in the comment of a test. That it is true, the
// planted bugs show: package partition has a test of that.
func TestRulesHaveStories(t *testing.T) {
	all := rules(t)
	stories, err := filepath.Glob("../partition/testdata/*")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	for _, f := range stories {
		if info, err := os.Stat(f); err != nil || info.IsDir() {
			continue // of the fuzzers
		}
		for _, m := range storyShows.FindAllStringSubmatch(read(t, f), -1) {
			shown(t, f, m[1], all)
		}
	}
	err = filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, "_test.go") {
			inTests(t, path, all)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if !all[id] {
			t.Errorf("no story and no test shows %s", id)
		}
	}
}
