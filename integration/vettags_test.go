//go:build linux

package integration

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unvetted are files that make vet leaves out, and why they need it least.
var unvetted = map[string]string{
	"cmd/agentproxy/man.go":                     "make man compiles it",
	"proxy/race_test.go":                        "constants",
	"proxy/usage/race_test.go":                  "constants",
	"proxy/internal/netconn/socket_portable.go": "make portable vets it",
	"integration/gardenfew_test.go":             "two variables and a call",
	"integration/stolenkeyfew_test.go":          "returns nil",
}

// TestVetSeesAll has make vet look once, with the tags of all files for Linux.
func TestVetSeesAll(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "../Makefile")
	if !strings.Contains(makefile, "vet -tags $(TAGS) ./...\n") {
		t.Error("make vet does not set TAGS")
	}
	tags := strings.Split(makeList(t, makefile, "TAGS"), ",")
	found := make(map[string]bool)
	for _, path := range goFiles(t, "..") {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel("..", path)
		if strings.HasPrefix(name, "integration/traefik/") {
			continue // another module's
		}
		expr := constraintOf(file)
		if expr == nil || expr.Eval(func(tag string) bool { return linuxTag(tag) || slices.Contains(tags, tag) }) {
			continue
		}
		if anyLinux(expr) && unvetted[name] == "" {
			t.Errorf("make vet leaves out %s, which needs %s", name, expr)
		}
		found[name] = true
	}
	for name := range unvetted {
		if !found[name] {
			t.Errorf("%s is vetted, or gone", name)
		}
	}
}

func linuxTag(tag string) bool { return tag == "linux" || tag == "unix" || tag == "amd64" }

// constraintOf returns a file's build constraint, or nil.
func constraintOf(file *ast.File) constraint.Expr {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if expr, err := constraint.Parse(comment.Text); err == nil && comment.Pos() < file.Package {
				return expr
			}
		}
	}
	return nil
}

// anyLinux reports whether there are tags with which a file is compiled on Linux.
func anyLinux(expr constraint.Expr) bool {
	var ours []string
	expr.Eval(func(tag string) bool {
		if !linuxTag(tag) && !slices.Contains(ours, tag) {
			ours = append(ours, tag)
		}
		return true
	})
	for set := range 1 << len(ours) {
		if expr.Eval(func(tag string) bool {
			i := slices.Index(ours, tag)
			return linuxTag(tag) || i >= 0 && set>>i&1 == 1 && !slices.Contains([]string{"darwin", "windows", "freebsd"}, tag)
		}) {
			return true
		}
	}
	return false
}
