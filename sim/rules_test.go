package sim

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	bracketed = regexp.MustCompile(`\[([^\]]*)\]`)
	ruleName  = regexp.MustCompile(`^\s*([A-Z][A-Za-z0-9]+)`)
	mutated   = regexp.MustCompile(`invariant\.Mutated\(invariant\.(\w+)\)`)
	constant  = regexp.MustCompile(`Mutant\s*=\s*"(\w+)"`)
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
	places := planted(t)
	files, _ := filepath.Glob("../invariant/mutant*.go")
	for _, f := range files {
		for _, m := range constant.FindAllStringSubmatch(read(t, f), -1) {
			if !cases[m[1]] {
				t.Errorf("%s is in no list: nobody looks for it", m[1])
			}
			if !places[m[1]] {
				t.Errorf("%s is nowhere in the code", m[1])
			}
		}
	}
}
