//go:build linux

package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sourceRules are what no source of the program may do. A rule names what is
// wrong with a node, or says nothing.
type sourceRule func(file string, node ast.Node) (wrong string)

// TestSource reads all of the program's sources, without their tests and their
// comments.
func TestSource(t *testing.T) {
	t.Parallel()
	rules := []sourceRule{verifiesAlways, usesNoDefaults, usesTLS12, writesPrivately, leavesKeysInCerts}
	files := 0
	for _, dir := range []string{"cmd", "internal", "authz", "proxy", "signer", "identity", "certs"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			for _, wrong := range checkSource(t, path, []byte(readFile(t, path)), rules...) {
				t.Error(wrong)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were read", files)
	}
}

// checkSource returns what is wrong with a source file, line by line.
func checkSource(t *testing.T, path string, source []byte, rules ...sourceRule) []string {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(filepath.ToSlash(path), "../")
	var all []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		for _, rule := range rules {
			if node == nil {
				break
			}
			if wrong := rule(name, node); wrong != "" {
				all = append(all, fmt.Sprintf("%s:%d: %s", name, set.Position(node.Pos()).Line, wrong))
			}
		}
		return true
	})
	return all
}

// TestSourceRules has each rule find what it is for.
func TestSourceRules(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`c.InsecureSkipVerify = true`:                                    "certificates",
		`_ = tls.Config{InsecureSkipVerify: true, MinVersion: 1}`:        "certificates",
		`_ = tls.Config{}`:                                               "MinVersion",
		`_ = &tls.Config{MinVersion: tls.VersionTLS10}`:                  "MinVersion",
		`_ = new(tls.Config)`:                                            "MinVersion",
		`var c tls.Config`:                                               "MinVersion",
		`_ = http.DefaultClient`:                                         "defaults",
		`_ = http.DefaultTransport`:                                      "defaults",
		`http.Get("x")`:                                                  "defaults",
		`os.WriteFile("x", nil, 0o640)`:                                  "0640",
		`os.WriteFile("x", nil, 0644)`:                                   "0644",
		`os.WriteFile("x", nil, os.ModePerm)`:                            "ModePerm",
		`os.Create("x")`:                                                 "os.Create",
		`os.MkdirAll("x", 0o755)`:                                        "0755",
		`_ = "ca-key.pem"`:                                               "key of the CA",
		`_ = "x/next-key.pem"`:                                           "key of the CA",
		`_ = tls.Config{MinVersion: tls.VersionTLS13}`:                   "",
		`os.WriteFile("x", nil, 0o600); _ = 0o022 // InsecureSkipVerify`: "",
	} {
		got := strings.Join(checkSource(t, "x.go", []byte("package x\nfunc f() {\n"+body+"\n}\n"),
			verifiesAlways, usesNoDefaults, usesTLS12, writesPrivately, leavesKeysInCerts), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// verifiesAlways: certificates of servers are verified, whatever the
// configuration.
func verifiesAlways(_ string, node ast.Node) string {
	if name, ok := node.(*ast.Ident); ok && name.Name == "InsecureSkipVerify" {
		return "certificates are always verified: no InsecureSkipVerify"
	}
	return ""
}

// usesNoDefaults: what is sent without a word about how goes by the
// environment, past upstream's configuration, and may wait for ever.
func usesNoDefaults(_ string, node ast.Node) string {
	if name := selected(node, "http"); slices.Contains([]string{"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"}, name) {
		return "http." + name + " goes by defaults: use a transport of proxy.NewTransport"
	}
	return ""
}

// usesTLS12: every configuration of TLS says so.
func usesTLS12(_ string, node ast.Node) string {
	const wrong = "a tls.Config needs MinVersion: tls.VersionTLS12, or later, where it is made"
	switch node := node.(type) {
	case *ast.CompositeLit:
		if selected(node.Type, "tls") != "Config" {
			return ""
		}
		for _, element := range node.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok && fmt.Sprint(pair.Key) == "MinVersion" {
				if version := selected(pair.Value, "tls"); version == "VersionTLS12" || version == "VersionTLS13" {
					return ""
				}
			}
		}
		return wrong
	case *ast.CallExpr:
		if name, ok := node.Fun.(*ast.Ident); ok && name.Name == "new" && len(node.Args) == 1 && selected(node.Args[0], "tls") == "Config" {
			return wrong
		}
	case *ast.ValueSpec:
		if selected(node.Type, "tls") == "Config" {
			return wrong
		}
	}
	return ""
}

// publicFiles are the sources that write something for everybody to read:
// certificates, manual pages, the configuration of the stand-in backend, and what is
// found below /etc.
var publicFiles = []string{
	"certs/store.go", "certs/prepare.go", "cmd/agentproxy/internal/clientenv/clientenv.go", "cmd/agentproxy/man.go", "cmd/agentproxy/internal/standin/home.go",
	"cmd/agentproxy/internal/launch/system_linux.go",
}

// writesPrivately: files and directories are their owner's alone.
func writesPrivately(file string, node ast.Node) string {
	switch node := node.(type) {
	case *ast.BasicLit:
		if node.Kind != token.INT || !strings.HasPrefix(node.Value, "0") || strings.HasPrefix(node.Value, "0x") || strings.HasPrefix(node.Value, "0b") {
			return ""
		}
		mode, err := strconv.ParseUint(node.Value, 0, 64)
		if owner := mode >> 6; err != nil || owner != 6 && owner != 7 || mode&0o077 == 0 {
			return "" // a mask, perhaps, but no mode that a file is made with
		}
		if (mode == 0o644 || mode == 0o755) && slices.Contains(publicFiles, file) {
			return ""
		}
		return fmt.Sprintf("mode %#o lets others read: use 0600 or 0700", mode)
	case *ast.SelectorExpr:
		if name := selected(node, "os"); name == "Create" || name == "ModePerm" {
			return "os." + name + " lets others read: name a mode, 0600 or 0700"
		}
	}
	return ""
}

// leavesKeysInCerts: only package certs knows where the keys of the CA are.
func leavesKeysInCerts(file string, node ast.Node) string {
	text, ok := node.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING || strings.HasPrefix(file, "certs/") {
		return ""
	}
	if strings.Contains(text.Value, "ca-key.pem") || strings.Contains(text.Value, "next-key.pem") {
		return "the key of the CA is for package certs alone"
	}
	return ""
}

// selected returns the name in an expression of the form pkg.Name.
func selected(node ast.Node, pkg string) string {
	selector, ok := node.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := selector.X.(*ast.Ident); !ok || x.Name != pkg {
		return ""
	}
	return selector.Sel.Name
}
