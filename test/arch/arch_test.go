package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/kvd-db/kvd/"
	root   = "../.."
)

type source struct {
	path  string // slash path below the root
	pkg   string // its folder
	test  bool
	lines int
	file  *ast.File
	fset  *token.FileSet
}

// sources parses every Go file of the module that people write.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || rel == "tools" || rel == "bin" || rel == "bench/etcd" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, ".pb.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		out = append(out, source{
			path: rel, pkg: dir, test: strings.HasSuffix(rel, "_test.go"),
			lines: strings.Count(string(text), "\n"), file: f, fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d files found: the test looks at the wrong folder", len(out))
	}
	return out
}

func row(pkg string) (imports []string, core, ok bool) {
	for _, r := range floors {
		if r.pkg == pkg {
			return r.imports, r.core, true
		}
	}
	return nil, false, false
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		top := strings.HasPrefix(s.pkg, "cmd/") || strings.HasPrefix(s.pkg, "test")
		allowed, _, ok := row(s.pkg)
		if !ok && !top {
			t.Errorf("%s: package %s is not in the table of floors", s.path, s.pkg)
			continue
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if strings.HasPrefix(path, "github.com/cockroachdb/pebble") && s.pkg != "mvcc" {
				t.Errorf("%s imports %s: mvcc is the only importer of Pebble", s.path, path)
			}
			in, ours := strings.CutPrefix(path, module)
			if !ours || s.test || top {
				continue
			}
			if !slices.Contains(allowed, in) {
				t.Errorf("%s imports %s, which the table of floors does not allow", s.path, in)
			}
		}
	}
}

func TestFloorsGoDown(t *testing.T) {
	floor := map[string]int{}
	for _, r := range floors {
		floor[r.pkg] = r.floor
	}
	for _, r := range floors {
		for _, i := range r.imports {
			if floor[i] > r.floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", r.pkg, r.floor, i, floor[i])
			}
		}
	}
}

// bannedCalls are functions that bring the world into a core.
var bannedCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"},
	"rand": {"Int", "IntN", "Int64", "Int64N", "Uint64", "Uint64N", "Float64", "Perm", "Shuffle", "N", "Read"},
	"os":   nil, "net": nil,
}

func TestCores(t *testing.T) {
	for _, s := range sources(t) {
		if _, core, _ := row(s.pkg); !core || s.test {
			continue
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			switch {
			case path == "sync", path == "os", path == "net", path == "context", path == "google.golang.org/grpc",
				path == "sync/atomic" && s.path != "replication/lease.go": // the one cell that readers outside the loop look at (L18)
				t.Errorf("%s imports %s: a core has no world", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a core starts no goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectStmt, *ast.SendStmt:
				t.Errorf("%s: a core has no channels", s.fset.Position(n.Pos()))
			case *ast.CallExpr:
				banned(t, s, n)
			}
			return true
		})
	}
}

func banned(t *testing.T, s source, n *ast.CallExpr) {
	sel, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok || pkg.Obj != nil {
		return
	}
	names, ok := bannedCalls[pkg.Name]
	if ok && (names == nil || slices.Contains(names, sel.Sel.Name)) && imported(s, pkg.Name) {
		t.Errorf("%s: a core does not call %s.%s", s.fset.Position(n.Pos()), pkg.Name, sel.Sel.Name)
	}
}

func imported(s source, name string) bool {
	for _, imp := range s.file.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if imp.Name != nil && imp.Name.Name == name || imp.Name == nil && (strings.HasSuffix(path, "/"+name) || path == name || path == "math/rand/v2" && name == "rand") {
			return true
		}
	}
	return false
}

func TestSizes(t *testing.T) {
	large := 0
	for _, s := range sources(t) {
		if s.lines > fileLinesMax {
			t.Errorf("%s has %d lines, more than %d: split it", s.path, s.lines, fileLinesMax)
		}
		if s.lines > fileLinesGood && !s.test {
			large++
			t.Logf("%s has %d lines", s.path, s.lines)
		}
		_, core, _ := row(s.pkg)
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				lines := s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line
				if lines > functionLinesMax && !s.test {
					t.Errorf("%s: function %s has %d lines, more than %d", s.path, n.Name.Name, lines, functionLinesMax)
				}
			case *ast.TypeSpec:
				st, ok := n.Type.(*ast.StructType)
				if core && !s.test && ok && fields(st) > structFieldsMax && !plainData(n.Name.Name) {
					t.Errorf("%s: struct %s has %d fields, more than %d", s.path, n.Name.Name, fields(st), structFieldsMax)
				}
			}
			return true
		})
	}
	if large > largeFilesMax {
		t.Errorf("%d files have more than %d lines, the ratchet allows %d", large, fileLinesGood, largeFilesMax)
	}
}

func fields(s *ast.StructType) (n int) {
	for _, f := range s.Fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

// plainData are structs that only carry values from one place to another: parameters,
// events, effects, errors.
func plainData(name string) bool {
	for _, suffix := range []string{"Params", "Options", "Effects", "Error", "Response", "Config", "Apply", "Message", "Task"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// TestWords refuses package names that could hold anything.
func TestWords(t *testing.T) {
	for _, s := range sources(t) {
		for _, part := range strings.Split(s.pkg, "/") {
			if slices.Contains([]string{"util", "utils", "common", "helpers", "types", "internal", "misc", "base"}, part) {
				t.Errorf("%s: a package is a noun of the domain, not %q", s.path, part)
			}
		}
	}
}

// TestDocs insists that every package says what it owns.
func TestDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			documented[s.pkg] = documented[s.pkg] || s.file.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}
