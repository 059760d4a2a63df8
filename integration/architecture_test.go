//go:build linux

package integration

import (
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

const module = "github.com/agentproxy/agentproxy/"

// TestLayers compares the table of layers in docs/architecture.md with what each
// package imports, its tests left out.
func TestLayers(t *testing.T) {
	t.Parallel()
	const document = "../docs/architecture.md"
	told := make(map[string][]string)
	name := regexp.MustCompile("`([a-z0-9/]+)`")
	for line := range strings.Lines(readFile(t, document)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		pkg := name.FindStringSubmatch(cells[1])
		if pkg == nil {
			break // the next table begins
		}
		told[pkg[1]] = nil
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			told[pkg[1]] = append(told[pkg[1]], m[1])
		}
	}
	found := importsOf(t)
	for _, pkg := range slices.Sorted(maps.Keys(found)) {
		allowed, known := told[pkg]
		switch imports := found[pkg]; {
		case !known:
			t.Errorf("%s has no row for %s", document, pkg)
		case !slices.Equal(imports, slices.Sorted(slices.Values(allowed))):
			t.Errorf("%s says that %s imports %v; it imports %v", document, pkg, allowed, imports)
		}
	}
	for pkg := range told {
		if _, ok := found[pkg]; !ok {
			t.Errorf("%s has a row for %s, which is no package", document, pkg)
		}
	}
}

// importsOf returns which of this module's packages each package imports, sorted.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	imports := make(map[string][]string)
	for _, path := range goFiles(t, "..") {
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		if ofAnotherModule(path) || pkg == ".." { // the root holds documents alone
			continue
		}
		set := imports[pkg]
		if set == nil {
			set = []string{}
		}
		if !strings.HasSuffix(path, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				if own, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(set, own) {
					set = append(set, own)
				}
			}
		}
		slices.Sort(set)
		imports[pkg] = set
	}
	return imports
}

// ofAnotherModule reports whether a file below the root of this module belongs to a
// module of its own.
func ofAnotherModule(path string) bool {
	for dir := filepath.Dir(path); dir != ".."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// TestSizes keeps packages small enough to be read in one go: under 3,000 lines and 30
// files without their tests, and package main, which holds commands alone, under 2,200
// lines.
func TestSizes(t *testing.T) {
	t.Parallel()
	const maxLines, maxMainLines, maxFiles = 3000, 2200, 30
	for pkg := range importsOf(t) {
		if strings.HasPrefix(pkg, "integration") {
			continue // what the program is tested with
		}
		paths, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		files, lines := 0, 0
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				files++
				lines += strings.Count(readFile(t, path), "\n")
			}
		}
		most := maxLines
		if pkg == "cmd/agentproxy" {
			most = maxMainLines
		}
		if files == 0 || files >= maxFiles || lines >= most {
			t.Errorf("%s has %d files and %d lines; below %d and %d it can be read in one go", pkg, files, lines, maxFiles, most)
		}
	}
}
