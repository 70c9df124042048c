package client_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// parsed is the documentation of a package, tests and examples included.
func parsed(t *testing.T, dir string) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, p := range paths {
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if name := f.Name.Name; strings.HasSuffix(p, "_test.go") && !strings.HasSuffix(name, "_test") {
			continue // it is in the package itself, and would count as exported
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/kvd-db/kvd/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bareMethods are the exported methods of a type that is an interface without a comment.
func bareMethods(t *doc.Type) (names []string) {
	for _, spec := range t.Decl.Specs {
		i, ok := spec.(*ast.TypeSpec).Type.(*ast.InterfaceType)
		if !ok {
			continue
		}
		for _, m := range i.Methods.List {
			for _, name := range m.Names {
				if name.IsExported() && m.Doc.Text()+m.Comment.Text() == "" {
					names = append(names, t.Name+"."+name.Name)
				}
			}
		}
	}
	return names
}

// undocumented is what is exported without a word. Fields of structs are not looked at: the comment of the type may
// say what they are, and many a name does.
func undocumented(p *doc.Package) (names []string) {
	note := func(name, text string) {
		if strings.TrimSpace(text) == "" {
			names = append(names, name)
		}
	}
	values := func(all []*doc.Value) {
		for _, v := range all {
			note(strings.Join(v.Names, ", "), v.Doc)
		}
	}
	funcs := func(all []*doc.Func) {
		for _, f := range all {
			note(f.Recv+"."+f.Name, f.Doc)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs)
	for _, t := range p.Types {
		note(t.Name, t.Doc)
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs)
		funcs(t.Methods)
		names = append(names, bareMethods(t)...)
	}
	return names
}

// TestDocumentation: everything exported but fields has a doc comment, and every type an example, of its own or of a
// method.
func TestDocumentation(t *testing.T) {
	for _, dir := range []string{".", "kvtest"} {
		p := parsed(t, dir)
		if names := undocumented(p); len(names) > 0 {
			t.Errorf("%s: without a doc comment: %q", p.Name, names)
		}
		if len(p.Types) == 0 {
			t.Errorf("%s: no types were found", p.Name)
		}
		for _, x := range p.Types {
			shown := len(x.Examples)
			for _, m := range x.Methods {
				shown += len(m.Examples)
			}
			if shown == 0 {
				t.Errorf("%s.%s has no example", p.Name, x.Name)
			}
		}
	}
}
