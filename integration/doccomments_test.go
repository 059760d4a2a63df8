//go:build linux

package integration

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocComments has a doc comment of the Go form, https://go.dev/doc/comment, on every
// package and every exported name of the program: it begins with the name.
func TestDocComments(t *testing.T) {
	t.Parallel()
	names := 0
	for _, root := range []string{"cmd", "internal", "authz", "proxy", "signer", "identity", "certs"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() || d.Name() == "testdata" {
				return err
			}
			n, wrong := undocumented(t, path)
			names += n
			for _, w := range wrong {
				t.Error(w)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if names < 300 {
		t.Errorf("only %d names were looked at", names)
	}
}

// TestUndocumented finds what lacks a doc comment, and what has another's.
func TestUndocumented(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "p.go"), []byte(`package p

type T struct{}

// Returns nothing.
func (T) M() {}

// A and B are documented.
const (
	A = 1
	B = 2
)

// N is documented.
func N() {}

var V = 1

func unexported() {}
`))
	_, wrong := undocumented(t, dir)
	for i, w := range wrong {
		wrong[i] = w[strings.LastIndex(w, "/")+1:]
	}
	want := []string{
		"p.go:17: V has no doc comment that begins with its name",
		"p.go:3: T has no doc comment that begins with its name",
		"p.go:6: T.M has no doc comment that begins with its name",
		"package p has no doc comment",
	}
	if slices.Sort(wrong); !slices.Equal(wrong, want) {
		t.Errorf("wrong: %q, want %q", wrong, want)
	}
}

// undocumented returns how many exported names a package has, and which of them lack a doc
// comment.
func undocumented(t *testing.T, dir string) (names int, wrong []string) {
	t.Helper()
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if files == nil {
		return 0, nil
	}
	p, err := doc.NewFromFiles(set, files, "example.com/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Doc == "" {
		wrong = append(wrong, "package "+p.Name+" has no doc comment")
	}
	check := func(pos token.Pos, name, comment string) {
		names++
		_, short, qualified := strings.Cut(name, ".")
		if !qualified {
			short = name
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(comment, "A "), "An "), "The "), " ")
		if strings.TrimRight(first, ",:.\n") != short {
			at := set.Position(pos)
			wrong = append(wrong, filepath.ToSlash(at.Filename)+":"+strconv.Itoa(at.Line)+": "+name+" has no doc comment that begins with its name")
		}
	}
	functions := func(of string, all []*doc.Func) {
		for _, f := range all {
			check(f.Decl.Pos(), of+f.Name, f.Doc)
		}
	}
	// The comment of a group is that of all of its names, and one within it may be that of the
	// names below it that it names too.
	values := func(all []*doc.Value) {
		for _, v := range all {
			above := ""
			for _, spec := range v.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				names += len(spec.Names)
				above += spec.Doc.Text()
				exported := slices.ContainsFunc(spec.Names, func(n *ast.Ident) bool { return n.IsExported() })
				if exported && v.Doc == "" && spec.Comment.Text() == "" && !strings.Contains(above, spec.Names[0].Name) {
					at := set.Position(spec.Pos())
					wrong = append(wrong, filepath.ToSlash(at.Filename)+":"+strconv.Itoa(at.Line)+": "+spec.Names[0].Name+" has no doc comment that begins with its name")
				}
			}
		}
	}
	functions("", p.Funcs)
	values(p.Consts)
	values(p.Vars)
	for _, typ := range p.Types {
		check(typ.Decl.Pos(), typ.Name, typ.Doc)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
		values(typ.Consts)
		values(typ.Vars)
	}
	return names, wrong
}
