package configfile

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

var update = flag.Bool("update", false, "write docs/"+SchemaName+" anew")

// repository is the root of the sources.
var repository = filepath.Join("..", "..", "..", "..")

// TestSchemaIsCommitted compares the schema that editors find in the repository with what
// the program makes of its keys.
func TestSchemaIsCommitted(t *testing.T) {
	path := filepath.Join(repository, "docs", SchemaName)
	if *update {
		if err := os.WriteFile(path, Schema(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(Schema()) {
		t.Errorf("%s is not what the program reads; run: go test ./cmd/agentproxy/internal/configfile -run TestSchemaIsCommitted -update", path)
	}
	var described func(path string, n *jsonschema.Schema)
	described = func(path string, n *jsonschema.Schema) {
		for name, p := range n.Properties {
			if p.Description == "" {
				t.Errorf("%s%s has no description", path, name)
			}
			described(path+name+".", p)
		}
	}
	described("", compiled(t))
	// The files that say so find it.
	for name, content := range map[string]string{"config.example.yaml": read(t, filepath.Join(repository, "config.example.yaml")), "a template": Template("docs/" + SchemaName)} {
		if first, _, _ := strings.Cut(content, "\n"); first != "# yaml-language-server: $schema=docs/"+SchemaName {
			t.Errorf("%s begins with %q", name, first)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(Schema())))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// validate returns what the schema has against a configuration in YAML.
func validate(t *testing.T, schema *jsonschema.Schema, content string) error {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(content))
	if err != nil {
		t.Fatalf("%v in %q", err, content)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

var (
	yamlBlock = regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```$")
	catBlock  = regexp.MustCompile(`(?m)^\$ cat \S+\.yaml\n((?:[^$` + "`" + `].*\n)+)`)
	keyTitle  = regexp.MustCompile("(?m)^### `([a-z_.]+)`")
	configMap = regexp.MustCompile(`(?m)^( +)config\.yaml: \|\n((?:\s+.*\n)+)`)
)

// examples returns all configurations of the repository, and parts of some, by where they
// are.
func examples(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{"the template": Template(SchemaName), "the template, all uncommented": uncommented()}
	for _, path := range []string{"config.example.yaml", "deploy/config.yaml", "deploy/debian/config.yaml"} {
		found[path] = read(t, filepath.Join(repository, path))
	}
	documents, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, filepath.Join(repository, "README.md")) {
		text := read(t, path)
		add := func(at int, content string) {
			where := fmt.Sprintf("%s:%d", filepath.Base(path), strings.Count(text[:at], "\n")+1)
			if strings.HasPrefix(content, "- ") { // of the key that the title names
				titles := keyTitle.FindAllStringSubmatch(text[:at], -1)
				keys := strings.Split(titles[len(titles)-1][1], ".")
				head := ""
				for i, key := range keys {
					head += strings.Repeat(" ", i) + key + ":\n"
				}
				indent := strings.Repeat(" ", len(keys))
				content = head + indent + strings.ReplaceAll(strings.TrimSpace(content), "\n", "\n"+indent)
			}
			if !regexp.MustCompile(`(?m)^(services|apiVersion|jobs|on|spec):`).MatchString(content) {
				found[where] = content
			}
		}
		for _, block := range []*regexp.Regexp{yamlBlock, catBlock} {
			for _, m := range block.FindAllStringSubmatchIndex(text, -1) {
				add(m[2], text[m[2]:m[3]])
			}
		}
	}
	err = filepath.WalkDir(filepath.Join(repository, "deploy"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		for _, m := range configMap.FindAllStringSubmatch(read(t, path), -1) {
			var lines []string
			for line := range strings.Lines(m[2]) {
				if !strings.HasPrefix(line, m[1]+"  ") && strings.TrimSpace(line) != "" {
					break
				}
				lines = append(lines, strings.TrimPrefix(line, m[1]+"  "))
			}
			if content := strings.Join(lines, ""); !strings.Contains(content, "{{") {
				found[path] = content
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// uncommented returns the template as somebody has it who uncomments all keys.
func uncommented() string {
	return regexp.MustCompile(`(?m)^( *)#([a-z_]+: ?\S)`).ReplaceAllString(Template(SchemaName), "$1$2")
}

// TestSchemaOfExamples validates every configuration that the repository shows.
func TestSchemaOfExamples(t *testing.T) {
	schema := compiled(t)
	all := examples(t)
	for where, content := range all {
		if err := validate(t, schema, content); err != nil {
			t.Errorf("%s: %v\n%s", where, err, content)
		}
	}
	for name, least := range map[string]int{".md:": 10, "deploy": 3} {
		n := 0
		for where := range all {
			if strings.Contains(where, name) {
				n++
			}
		}
		if n < least {
			t.Errorf("%d examples in %s were found", n, name)
		}
	}
}

// TestSchemaRefuses has configurations that are wrong, which the schema and the program
// refuse.
func TestSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	both := func(content string, want bool) {
		t.Helper()
		path := configtest.Write(t, content)
		mistakes := config.Mistakes(path, configtest.Environment(nil))
		if refused := validate(t, schema, content) != nil; refused != want || (len(mistakes) > 0) != want {
			t.Errorf("%q: the schema refuses it: %t; the program: %v", content, refused, mistakes)
		}
	}
	for _, wrong := range []string{
		"lisen: x", "log: info", "log: {level: loud}", "listen: [a]", "listen: 8080", "listen: 127.0.0.1", "chatgpt: {hosts: chatgpt.com}",
		"identity: {register: 7}", "signer: {use: none}", "signer: {rules: [{path: /a}]}", "signer: {rules: [{path: /a, use: magic}]}", "signer: {rules: [{path: /a, use: none, methods: [get]}]}",
		"scope: {allow: codex}", "scope: {allow: [everything]}", "scope: {allow: [{host: a.example, paths: /a}]}", "scope: {allow: [{path: /a, upgrade: h2c}]}",
		"clients: {issued: only}\nprofiles: [{name: a}]", "clients: {issued: only}\nprofiles: [{labels: [a]}]", "clients: {issued: only}\nprofiles: [{name: a, labels: [a], signer: {uses: bearer}}]",
		"limits: {connections: 0}", "limits: {header_bytes: many}", "limits: {idle_timeout: soon}", "limits: {idle_timeout: -5m}", "other_hosts: deny", "other_hosts: {a: b}",
		"run: {isolate: never}", "run: {env: {passes: [A]}}", "retry_body_limit: -1", "upstream: {connect_to: [a]}", "clients: {token: [a]}", "- a", "hello",
	} {
		both(wrong, true)
	}
	for _, right := range []string{
		"log:", "", "listen:\nlog:\n  level:\n", "other_hosts: [a.example]", "other_hosts: []", "clients: {token: 123}", "other_ports: [22, 8000-8999]",
		"signer: {use: command, command: [echo, 1, true]}", "scope: {allow: [all, {path: /a, upgrade: websocket}]}", "limits: {idle_timeout: 1h30m}", `admin: ""`,
		"signer: {rules: [{path: /a, use: client}, {host: a.example, use: auto, on_failure: refuse, methods: [GET]}]}", "upstream: {connect_to: {\"a.example:443\": \"127.0.0.1:1\"}}",
		"clients: {issued: only}\nprofiles: [{name: a, labels: [1, b], limits: {streams: 1}, other_hosts: [a.example], scope: {allow: [codex]}}, {name: b, labels: ['*'], refuse: true}]",
	} {
		both(right, false)
	}
}

// TestSchemaValues compares the words and least numbers that the schema has with what the
// program takes, for each key that is not in a list.
func TestSchemaValues(t *testing.T) {
	schema := compiled(t)
	checked := 0
	for _, key := range config.Keys() {
		if strings.Contains(key.Path, "[]") {
			continue
		}
		one := func(value string) (content string, mistakes []*config.Error) {
			content = nested(key.Path, value)
			return content, config.Mistakes(configtest.Write(t, content), configtest.Environment(nil))
		}
		about := func(mistakes []*config.Error, words ...string) bool {
			return slices.ContainsFunc(mistakes, func(e *config.Error) bool {
				return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(e.Error(), word) })
			})
		}
		if words := key.Field.Tag.Get("enum"); words != "" {
			checked++
			for word := range strings.SplitSeq(words, ",") {
				content, mistakes := one(word)
				if about(mistakes, " is none of ", " is neither ") {
					t.Errorf("%s: %v", content, mistakes)
				}
				if err := validate(t, schema, content); err != nil {
					t.Errorf("%s: %v", content, err)
				}
			}
			content, mistakes := one("unheard-of")
			if !about(mistakes, " is none of ", " is neither ") || validate(t, schema, content) == nil {
				t.Errorf("%s: %v", content, mistakes)
			}
			// The words are the ones that the program names.
			for _, e := range mistakes {
				_, list, ok := strings.Cut(e.Err.Error(), " is none of ")
				if named := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }); ok && !slices.Equal(named, strings.Split(words, ",")) {
					t.Errorf("%s: the program takes %v, the schema %s", key.Path, named, words)
				}
			}
		}
		if least, err := strconv.Atoi(key.Field.Tag.Get("min")); err == nil && !strings.HasSuffix(key.Path, "uids") {
			checked++
			for value, want := range map[int]bool{least: false, least - 1: true} {
				content, mistakes := one(strconv.Itoa(value))
				if refused := validate(t, schema, content) != nil; refused != want || about(mistakes, "too few", "too little", "is not a limit", "not a number") != want {
					t.Errorf("%s: the schema refuses it: %t, %v", content, refused, mistakes)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d keys were compared", checked)
	}
}

// nested returns a configuration with one key.
func nested(path, value string) string {
	keys := strings.Split(path, ".")
	return strings.Join(keys, ": {") + ": " + value + strings.Repeat("}", len(keys)-1)
}

// TestSchemaKnowsAllKeys mistypes each key.
func TestSchemaKnowsAllKeys(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys() {
		at := schema
		for name := range strings.SplitSeq(key.Path, ".") {
			name, list := strings.CutSuffix(name, "[]")
			properties, _ := at["properties"].(map[string]any)
			next, ok := properties[name].(map[string]any)
			if !ok || at["additionalProperties"] != false {
				t.Fatalf("the schema does not have %s", key.Path)
			}
			if at = next; list {
				at, _ = at["items"].(map[string]any)
				if of, ok := at["anyOf"].([]any); ok {
					at, _ = of[len(of)-1].(map[string]any)
				}
			}
		}
	}
}
