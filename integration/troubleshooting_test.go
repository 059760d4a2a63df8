//go:build linux

package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/signer"
)

// TestEveryCodeIsExplained compares the codes in the program's sources with the
// headings of docs/troubleshooting.md, both ways, statuses included.
func TestEveryCodeIsExplained(t *testing.T) {
	t.Parallel()
	const document = "../docs/troubleshooting.md"
	codes := codesInSources(t)
	if len(codes) < 40 {
		t.Errorf("only %d codes were found in the sources", len(codes))
	}
	heading := regexp.MustCompile("(?m)^### `([a-z_]+)` \\(([0-9, ]+)\\)\n\n\\S")
	explained := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(readFile(t, document), -1) {
		explained[m[1]] = true
		statuses, known := codes[m[1]]
		if !known {
			t.Errorf("%s explains %s, which nothing sends", document, m[1])
			continue
		}
		for status := range strings.SplitSeq(m[2], ", ") {
			if !statuses[status] {
				t.Errorf("%s says %s comes with %s; it comes with %v", document, m[1], status, slices.Collect(maps.Keys(statuses)))
			}
			delete(statuses, status)
		}
		for status := range statuses {
			t.Errorf("%s does not say that %s comes with %s", document, m[1], status)
		}
	}
	for code := range codes {
		if !explained[code] {
			t.Errorf("%s does not explain %s", document, code)
		}
	}
}

// codesInSources returns the codes of refusals that the program may answer with,
// and their statuses: what is given to functions that make a refusal, and the
// signers' own, which come with 503 but for those that say no.
func codesInSources(t *testing.T) map[string]map[string]bool {
	t.Helper()
	codes := make(map[string]map[string]bool)
	add := func(code, status string) {
		if codes[code] == nil {
			codes[code] = make(map[string]bool)
		}
		codes[code][status] = true
	}
	for _, dir := range []string{"../proxy", "../authz", "../signer", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, declaration := range file.Decls {
				switch d := declaration.(type) {
				case *ast.GenDecl:
					for _, code := range signerCodes(d) {
						switch code {
						case string(signer.RuleRefused), string(signer.AmbiguousPath), string(signer.BiscuitRefused):
							add(code, "403") // nothing is out of order
						default:
							add(code, "503")
						}
					}
				case *ast.FuncDecl:
					if err := refusals(d, add); err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return codes
}

// signerCodes returns the values of constants of type Code.
func signerCodes(d *ast.GenDecl) (codes []string) {
	for _, spec := range d.Specs {
		values, ok := spec.(*ast.ValueSpec)
		if !ok || d.Tok != token.CONST || fmt.Sprint(values.Type) != "Code" {
			continue
		}
		for _, value := range values.Values {
			codes = append(codes, literal(value))
		}
	}
	return codes
}

// refusals adds what a function gives to those that make a refusal of a status, a
// code and a message.
func refusals(f *ast.FuncDecl, add func(code, status string)) (err error) {
	if f.Name.Name == "Refusal" {
		return nil // it passes on what it is given
	}
	ast.Inspect(f, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) < 3 {
			return true
		}
		own, _ := call.Fun.(*ast.Ident) // within package refuse
		if selected(call.Fun, "refuse") != "New" && selected(call.Fun, "proxy") != "Refusal" && !(own != nil && own.Name == "New" && f.Name.Name == "Busy") {
			return true
		}
		status, known := statusNamed(selected(call.Args[0], "http"))
		if !known {
			err = fmt.Errorf("%s makes a refusal whose status is no constant of net/http", f.Name.Name)
		}
		found := false
		for _, code := range possible(f, call.Args[1]) {
			add(code, strconv.Itoa(status))
			found = true
		}
		if !found {
			err = fmt.Errorf("%s makes a refusal whose code cannot be told", f.Name.Name)
		}
		return true
	})
	return err
}

// possible returns the literals that an expression may stand for: itself, or what
// its variable is set to in the function.
func possible(f *ast.FuncDecl, e ast.Expr) (literals []string) {
	if s := literal(e); s != "" {
		return []string{s}
	}
	name, ok := e.(*ast.Ident)
	if !ok {
		return nil
	}
	ast.Inspect(f, func(node ast.Node) bool {
		set, ok := node.(*ast.AssignStmt)
		if !ok || len(set.Lhs) != len(set.Rhs) {
			return true
		}
		for i, left := range set.Lhs {
			if left, ok := left.(*ast.Ident); ok && left.Name == name.Name && literal(set.Rhs[i]) != "" {
				literals = append(literals, literal(set.Rhs[i]))
			}
		}
		return true
	})
	return literals
}

// literal returns the text of a string in the source, "" for anything else.
func literal(e ast.Expr) string {
	basic, ok := e.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(basic.Value)
	return text
}

// statusNamed returns the status of a constant of net/http.
func statusNamed(name string) (status int, ok bool) {
	if name == "StatusProxyAuthRequired" { // whose text is longer
		return http.StatusProxyAuthRequired, true
	}
	for status := 100; status < 600; status++ {
		if text := http.StatusText(status); text != "" && "Status"+strings.ReplaceAll(text, " ", "") == name {
			return status, true
		}
	}
	return 0, false
}
