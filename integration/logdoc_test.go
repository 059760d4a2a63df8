//go:build linux

package integration

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const logDocument = "../docs/log.md"

// fieldTypes are what the methods of a zerolog event write.
var fieldTypes = map[string]string{
	"Str": "text", "Stringer": "text", "AnErr": "text", "Time": "time", "Strs": "list", "Bool": "true",
	"Int": "number", "Int64": "number", "Float64": "number", "Dur": "milliseconds",
}

// logFields returns the rows of the table of fields in docs/log.md as the program's
// sources have them, without what the fields mean.
func logFields(t *testing.T) []string {
	t.Helper()
	type field struct{ kind, of string }
	fields := map[string]field{"time": {"time", "all"}, "level": {"text", "all"}, "message": {"text", "all"}}
	for _, dir := range []string{"../authz", "../cmd/agentproxy", "../proxy", "../identity", "../signer", "../certs"} {
		for _, path := range goFiles(t, dir) {
			source := readFile(t, path)
			if strings.HasSuffix(path, "_test.go") || !strings.Contains(source, ".Msg(") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			of := "others"
			if path == "../proxy/exchange.go" {
				of = "exchanges"
			}
			ast.Inspect(parsed, func(node ast.Node) bool {
				name, method := eventField(node)
				if name == "" {
					return true
				}
				found := field{fieldTypes[method], of}
				if found.kind == "" {
					t.Errorf("%s writes %s by %s, which is none of fieldTypes", path, name, method)
				}
				if before, ok := fields[name]; ok {
					if before.kind != found.kind {
						t.Errorf("%s is %s, and in %s %s", name, before.kind, path, found.kind)
					}
					if before.of != of {
						found.of = "both"
					}
				}
				fields[name] = found
				return true
			})
		}
	}
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		rows = append(rows, fmt.Sprintf("`%s` | %s | %s", name, fields[name].kind, fields[name].of))
	}
	return rows
}

// eventField returns the name of the field that a call adds to a log event, and the
// method that is called. The name is "" for all else.
func eventField(node ast.Node) (name, method string) {
	call, ok := node.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return "", ""
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", ""
	}
	if !ofEvent(selector.X) {
		return "", ""
	}
	name, _ = strconv.Unquote(literal.Value)
	return name, selector.Sel.Name
}

// ofEvent reports whether an expression is a log event: the variable of that name, or what
// a chain of calls makes of one.
func ofEvent(x ast.Expr) bool {
	for {
		switch node := x.(type) {
		case *ast.Ident:
			return node.Name == "event"
		case *ast.CallExpr:
			selector, ok := node.Fun.(*ast.SelectorExpr)
			if !ok {
				return false
			}
			if slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, selector.Sel.Name) && len(node.Args) == 0 || selector.Sel.Name == "WithLevel" {
				return true
			}
			x = selector.X
		default:
			return false
		}
	}
}

// lineFields returns the rows of a table of fields in docs/log.md for the structs of which
// a line of a file is made, in the order of the line.
func lineFields(t *testing.T, path string, structs ...string) (rows []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, readFile(t, path), 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.TypeSpec)
		if !ok || !slices.Contains(structs, spec.Name.Name) {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			if f.Tag == nil {
				continue // what is embedded
			}
			tag, _ := strconv.Unquote(f.Tag.Value)
			name, option, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			if name == "-" {
				continue
			}
			kind, when := "text", "always"
			if goType, ok := f.Type.(*ast.Ident); ok && strings.HasPrefix(goType.Name, "int") {
				kind = "number"
			}
			if name == "time" {
				kind = "time"
			}
			if option == "omitempty" {
				when = "if there is one"
			}
			rows = append(rows, fmt.Sprintf("`%s` | %s | %s", name, kind, when))
		}
		return false
	})
	return rows
}

// verdictRows returns the rows of the table of decisions: the words, and what the
// comments beside them say.
func verdictRows(t *testing.T) (rows []string) {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^\tVerdict\w+ +Verdict = "(\w+)" +// (.*)$`)
	for _, m := range declared.FindAllStringSubmatch(readFile(t, "../proxy/audit/audit.go"), -1) {
		rows = append(rows, fmt.Sprintf("`%s` | %s", m[1], m[2]))
	}
	return rows
}

// rowsBelow returns the rows of the table below a heading of docs/log.md, each with so
// many of its cells. All other cells must hold something.
func rowsBelow(t *testing.T, heading string, cells int) (rows []string) {
	t.Helper()
	_, text, ok := strings.Cut(readFile(t, logDocument), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", logDocument, heading)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			break
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		all := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range all {
			if all[i] = strings.TrimSpace(all[i]); all[i] == "" {
				t.Errorf("%s has an empty cell: %s", logDocument, line)
			}
		}
		rows = append(rows, strings.Join(all[:cells], " | "))
	}
	return rows
}

// TestLogIsDocumented compares the tables in docs/log.md with the program's sources.
func TestLogIsDocumented(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		heading string
		cells   int
		want    []string
	}{
		{"## Fields of the log", 3, logFields(t)},
		{"## Fields of the audit file", 3, append(lineFields(t, "../proxy/audit/file.go", "line")[:1:1],
			append(lineFields(t, "../proxy/audit/audit.go", "Decision"), lineFields(t, "../proxy/audit/file.go", "line")[1:]...)...)},
		{"### Decisions", 2, append(verdictRows(t), "`gap` | no decision: so many before it could not be written")},
		{"## Fields of the usage file", 3, lineFields(t, "../proxy/usage/file.go", "entryLine")},
	} {
		if len(test.want) < 6 {
			t.Errorf("%s: only %d rows were found in the sources", test.heading, len(test.want))
		}
		if diff := cmp.Diff(test.want, rowsBelow(t, test.heading, test.cells)); diff != "" {
			t.Errorf("%s, %s (-sources +document):\n%s", logDocument, test.heading, diff)
		}
	}
}

// documentedFields returns the type of each field that docs/log.md has for the log.
var documentedFields = sync.OnceValue(func() map[string]string {
	fields := make(map[string]string)
	document, err := os.ReadFile(logDocument)
	if err != nil {
		return nil
	}
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| (?:all|both|exchanges|others) \\|")
	for _, m := range row.FindAllStringSubmatch(string(document), -1) {
		fields[m[1]] = m[2]
	}
	return fields
})

// checkLogFields fails the test if a line of a log in JSON has a field that docs/log.md
// does not have, or another type. It returns the fields that are there.
func checkLogFields(t *testing.T, log string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for line := range strings.Lines(log) {
		var fields map[string]any
		if !strings.HasPrefix(line, `{"level":`) || json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		for name, value := range fields {
			found[name] = true
			kind, ok := documentedFields()[name]
			switch value.(type) {
			case string:
				ok = ok && (kind == "text" || kind == "time")
			case float64:
				ok = ok && (kind == "number" || kind == "milliseconds")
			case bool:
				ok = ok && kind == "true"
			case []any:
				ok = ok && kind == "list"
			default:
				ok = false
			}
			if !ok {
				t.Errorf("%s does not have %s, or not as this: %s", logDocument, name, line)
			}
		}
	}
	return found
}

// TestLoggedFields has a proxy log what it can be made to, and looks for each field in
// docs/log.md. All other tests look at what their proxies log, too.
func TestLoggedFields(t *testing.T) {
	t.Parallel()
	f, audited := auditedFixture(t, fixtureConfig{scope: defaultScope, yaml: "clients: {trust_labels: true, token: x}\nprofiles: [{name: builds, labels: [\"b-*\"]}]"})
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	client := labelled(t, p, "b-1", "x")
	for _, url := range []string{
		backendAPI + "/wham/tasks/list", backendAPI + "/conversations?secret=1", "https://other.example/", "http://chatgpt.com/y", "http://x:y@a.example/",
	} {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
		}
	}
	for range 3 { // the later ones are summed up
		if response, err := labelled(t, p, "b-1", "wrong").Get(backendAPI + "/wham/tasks/list"); err == nil {
			response.Body.Close()
		}
	}
	replaceFile(t, f.config, strings.Replace(readFile(t, f.config), "builds", "b", 1))
	eventually(t, "the reload", func() bool { return strings.Contains(p.log.String(), "configuration reloaded") })
	replaceFile(t, f.config, "no: such key")
	eventually(t, "the refused reload", func() bool { return strings.Contains(p.log.String(), "the former stays in force") })
	want := []string{
		"time", "level", "message", "kind", "client", "profile", "host", "method", "path", "signed", "out_of_scope", "status",
		"received", "sent", "duration", "refused", "reason", "changed", "error",
	}
	eventually(t, "all fields", func() bool {
		found := checkLogFields(t, p.log.String())
		return !slices.ContainsFunc(want, func(name string) bool { return !found[name] })
	})
	documented := make(map[string]bool)
	for _, row := range rowsBelow(t, "## Fields of the audit file", 1) {
		documented[strings.Trim(row, "`")] = true
	}
	found := make(map[string]bool)
	for _, line := range auditLines(t, audited) {
		for name := range line {
			found[name] = true
			if !documented[name] {
				t.Errorf("%s does not have %s of the audit file: %v", logDocument, name, line)
			}
		}
	}
	for _, name := range []string{"time", "decision", "client", "profile", "peer", "host", "method", "path", "credential", "signer", "refused", "out_of_scope"} {
		if !found[name] {
			t.Errorf("no decision has %s", name)
		}
	}
}

// labelled returns a client of a proxy with a session label and a token.
func labelled(t *testing.T, p *proxy, label, token string) *http.Client {
	t.Helper()
	via := &url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(label, token)}
	transport := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
