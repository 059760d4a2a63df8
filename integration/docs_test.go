//go:build linux

package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are what users and contributors read: the files of docs, and those
// beside README.md.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal("no documents: ", err)
	}
	return append(docs, "../README.md", "../SECURITY.md", "../CONTRIBUTING.md", "../CHANGELOG.md")
}

// testsIn returns the names of the tests and fuzz tests of the packages below
// dir, and where each is.
func testsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	found := make(map[string]string)
	for _, path := range goFiles(t, dir) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(readFile(t, path), -1) {
				found[m[1]] = path
			}
		}
	}
	return found
}

// goFiles returns the Go sources below dir.
func goFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestNamedTestsExist looks for every test that a document names.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	tests := testsIn(t, "..")
	name := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	for _, path := range documents(t) {
		for _, m := range name.FindAllStringSubmatch(readFile(t, path), -1) {
			if tests[m[1]] == "" {
				t.Errorf("%s names %s, which is no test", path, m[1])
			}
		}
	}
	// These are told to drive the built program, as the tests of this package do.
	tests = testsIn(t, ".")
	const path = "../docs/compatibility.md"
	rows := 0
	for line := range strings.Lines(readFile(t, path)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		for _, m := range name.FindAllStringSubmatch(cells[2], -1) {
			if filepath.Dir(tests[m[1]]) != "." {
				t.Errorf("%s names %s, which is no test of the built program", path, m[1])
			}
		}
	}
	if rows < 14 {
		t.Errorf("%s has %d rows with tests", path, rows)
	}
}

// TestLinksInDocuments follows every link to a file of the repository, and to a
// heading in it.
func TestLinksInDocuments(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, path := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(readFile(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(path), file)
			if file == "" {
				target = path
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s has a link to %s, which is not there", path, m[1])
			} else if anchor != "" && !slices.Contains(headings(readFile(t, target)), anchor) {
				t.Errorf("%s has a link to %s, and no heading of %s is that", path, m[1], target)
			}
		}
	}
}

// TestNamedFilesExist looks for every file and directory that CONTRIBUTING.md
// sends its reader to.
func TestNamedFilesExist(t *testing.T) {
	t.Parallel()
	const path = "../CONTRIBUTING.md"
	named := regexp.MustCompile("`([a-z]+/[\\w./-]*|[\\w.]+\\.(?:md|yaml))`")
	found := 0
	for _, m := range named.FindAllStringSubmatch(readFile(t, path), -1) {
		if name := m[1]; name != "net/http" && !strings.Contains(name, "NAME") {
			found++
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("%s names %s, which is not there", path, name)
			}
		}
	}
	if found < 20 {
		t.Errorf("%s names %d files", path, found)
	}
}

// headings returns the names by which a document's headings are linked to.
func headings(text string) (names []string) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}
