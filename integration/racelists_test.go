//go:build linux

package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notLighter are constants that the race detector changes and by which a test does no less.
var notLighter = map[string]string{"raceFactor": "makes room for the detector's own memory"}

// TestLighterRunsWhole holds the Makefile's lists to the tests: what does less under the race
// detector, or is not compiled with it, runs whole in make unit-plain, what make unit skips runs
// elsewhere, and every name in a list is that of a test.
func TestLighterRunsWhole(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "../Makefile")
	lighter, processes, scripts := makeList(t, makefile, "LIGHTER"), makeList(t, makefile, "PROCESSES"), makeList(t, makefile, "SCRIPTS")
	whole := wholePackagesOf(makefile, "unit-plain")
	plain, ofProcesses := packagesOf(t, makefile, "unit-plain", "LIGHTER"), packagesOf(t, makefile, "processes", "PROCESSES")

	for _, dir := range detectorDirs(t) {
		tests := lighterTests(parseTests(t, dir))
		if len(tests) == 0 {
			t.Errorf("%s looks whether the race detector is on, and no test does less by that", dir)
		}
		if slices.Contains(whole, dir) {
			continue
		}
		for _, name := range tests {
			if !slices.Contains(plain, dir) || !regexp.MustCompile(lighter).MatchString(name) {
				t.Errorf("%s of %s does less under the race detector, and make unit-plain does not run it: add it to LIGHTER", name, dir)
			}
		}
	}

	script, names, _ := strings.Cut(scripts, "/")
	if script != "^TestScript$" || !strings.Contains(makefile, "-skip '$(PROCESSES)|"+strings.ReplaceAll(script, "$", "$$")+"'") {
		t.Errorf("make unit does not skip what SCRIPTS is about, %s", script)
	}
	if !regexp.MustCompile(lighter).MatchString("TestScript") {
		t.Error("make unit skips TestScript, and LIGHTER lacks it")
	}
	for _, name := range alternatives(names, "^(", ")$") {
		if _, err := os.Stat("../cmd/agentproxy/testdata/script/" + name + ".txtar"); err != nil {
			t.Errorf("SCRIPTS has %s: %v", name, err)
		}
	}
	for list, in := range map[string][]string{lighter: plain, processes: ofProcesses} {
		var tests []string
		for _, dir := range in {
			tests = append(tests, slices.Collect(maps.Keys(parseTests(t, dir)))...)
		}
		for _, name := range alternatives(list, "^Test(", ")$") {
			one := regexp.MustCompile("^Test" + name + "$")
			if !slices.ContainsFunc(tests, one.MatchString) {
				t.Errorf("the Makefile names Test%s, and none of %v has it", name, in)
			}
		}
	}
}

// TestLighterRule has the rule find tests by what they use.
func TestLighterRule(t *testing.T) {
	t.Parallel()
	const detector = "package x\nconst lighter = 4\nconst raceFactor = 2\n"
	for body, want := range map[string][]string{
		`func TestA(t *testing.T) { for range 8 / lighter {} }`:                                                      {"TestA"},
		"const each = 8 / lighter\nfunc TestA(t *testing.T) { f() }\nfunc f() { _ = each }":                          {"TestA"},
		"var n = flag.Int(\"n\", 8/lighter, \"\")\nfunc FuzzA(f *testing.F) { _ = *n }\nfunc TestB(t *testing.T) {}": {"FuzzA"},
		"//go:build !race && unix\n\npackage x\nfunc TestA(t *testing.T) {}":                                         {"TestA"},
		"type c struct{}\nfunc (c) run() { _ = lighter }\nfunc TestA(t *testing.T) { c{}.run() }":                    {"TestA"},
		`func TestA(t *testing.T) { _ = raceFactor }`:                                                                nil,
		`func TestA(t *testing.T) { x.lighter = 1; _ = y{lighter: 2} }`:                                              nil,
	} {
		d := make(declared)
		if !strings.HasPrefix(body, "//") {
			body = "package x\n" + body
		}
		for _, source := range []string{"//go:build race\n\n" + detector, body} {
			file, err := parser.ParseFile(token.NewFileSet(), "x_test.go", source, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			d.add(file)
		}
		if got := lighterTests(d); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
}

// declared has what a package's tests declare at the top, by name.
type declared map[string]*declaration

// declaration is all that is declared by a name.
type declaration struct {
	uses     map[string]bool // the names in it, those of methods with a dot before them
	detector bool            // it is what the race detector changes
}

// add adds what a file declares.
func (d declared) add(file *ast.File) {
	detector := byDetector(file)
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := decl.Name.Name
			if decl.Recv != nil {
				name = "." + name
			}
			d.note(name, decl, detector)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range spec.Names {
						d.note(name.Name, spec, detector)
					}
				}
			}
		}
	}
}

func (d declared) note(name string, node ast.Node, detector bool) {
	if d[name] == nil {
		d[name] = &declaration{uses: make(map[string]bool)}
	}
	d[name].detector = d[name].detector || detector
	ast.Inspect(node, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			d[name].uses["."+node.Sel.Name] = true
			d.note(name, node.X, detector)
			return false
		case *ast.KeyValueExpr:
			if _, ok := node.Key.(*ast.Ident); !ok {
				d.note(name, node.Key, detector)
			}
			d.note(name, node.Value, detector)
			return false
		case *ast.Ident:
			d[name].uses[node.Name] = true
		}
		return true
	})
}

// lighterTests returns the tests that do less under the race detector, in order.
func lighterTests(d declared) []string {
	lighter := make(map[string]bool)
	for name, decl := range d {
		_, not := notLighter[name]
		lighter[name] = decl.detector && !not
	}
	for more := true; more; {
		more = false
		for name, decl := range d {
			for used := range decl.uses {
				if !lighter[name] && lighter[used] && name != used {
					lighter[name], more = true, true
				}
			}
		}
	}
	var tests []string
	for name := range lighter {
		if lighter[name] && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")) {
			tests = append(tests, name)
		}
	}
	slices.Sort(tests)
	return tests
}

// byDetector reports whether the race detector decides if a file is compiled.
func byDetector(file *ast.File) bool {
	expr := constraintOf(file)
	if expr == nil {
		return false
	}
	compiled := func(race bool) bool {
		return expr.Eval(func(tag string) bool { return tag == "race" && race || linuxTag(tag) })
	}
	return compiled(true) != compiled(false)
}

// parseTests returns what the tests in a directory declare.
func parseTests(t *testing.T, dir string) declared {
	t.Helper()
	d := make(declared)
	paths, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no tests in ", dir)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		d.add(file)
	}
	return d
}

// detectorDirs returns the directories whose tests look whether the race detector is on.
func detectorDirs(t *testing.T) []string {
	t.Helper()
	found := make(map[string]bool)
	for _, root := range []string{"authz", "certs", "cmd", "identity", "integration", "internal", "proxy", "signer"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, entry os.DirEntry, err error) error {
			if entry != nil && entry.Name() == "node_modules" {
				return filepath.SkipDir
			}
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err == nil && byDetector(file) {
				dir, _ := filepath.Rel("..", filepath.Dir(path))
				found[dir] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 2 {
		t.Errorf("only %d directories were found", len(found))
	}
	return slices.Sorted(maps.Keys(found))
}

// makeList returns a variable of the Makefile.
func makeList(t *testing.T, makefile, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `\s*:= (.+)$`).FindStringSubmatch(makefile)
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	return strings.ReplaceAll(m[1], "$$", "$")
}

// alternatives returns what a list has between a beginning and an end.
func alternatives(list, begin, end string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(list, begin), end), "|")
}

// packagesOf returns the directories of the packages in which a target runs a list.
func packagesOf(t *testing.T, makefile, target, list string) (dirs []string) {
	t.Helper()
	for _, line := range recipe(makefile, target) {
		if strings.Contains(line, "-run '$("+list+")'") {
			dirs = append(dirs, dirsIn(line)...)
		}
	}
	if len(dirs) == 0 {
		t.Fatalf("make %s runs no %s", target, list)
	}
	return dirs
}

// wholePackagesOf returns the directories of the packages that a target names and of which it
// runs all tests.
func wholePackagesOf(makefile, target string) (dirs []string) {
	for _, line := range recipe(makefile, target) {
		if !strings.Contains(line, " -run ") && !strings.Contains(line, " -skip ") {
			dirs = append(dirs, dirsIn(line)...)
		}
	}
	return dirs
}

// recipe returns the lines of a target's recipe.
func recipe(makefile, target string) []string {
	_, rule, _ := strings.Cut(makefile, "\n"+target+":")
	rule, _, _ = strings.Cut(rule, "\n\n")
	return strings.Split(rule, "\n")
}

// dirsIn returns the directories that a line names.
func dirsIn(line string) (dirs []string) {
	for _, m := range regexp.MustCompile(`\s\./(\S+)`).FindAllStringSubmatch(line, -1) {
		dirs = append(dirs, m[1])
	}
	return dirs
}
