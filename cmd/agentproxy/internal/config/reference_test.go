package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// TestConfigurationReference compares docs/configuration.md with what the program
// makes of it: the explanations and defaults of config.example.yaml, which
// TestExampleConfigIsTheDefaults checks, the types of the fields, the variables
// that are read, and the keys that a reload cannot change.
func TestConfigurationReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "..", "docs", "configuration.md")
	want := configurationReference(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the program reads; run: go test ./cmd/agentproxy/internal/config -run TestConfigurationReference -update", path)
	}
}

const referenceHead = `# Configuration reference

Every key of the configuration, made from [config.example.yaml](../config.example.yaml) and the program. No file is needed: ` + "`agentproxy serve`" + `
works with the defaults. ` + "`~/`" + ` at the beginning of a path is the home directory. Other paths that are not absolute begin where agentproxy is started, not
where the file is; the default file may have none.

` + "```console" + `
$ agentproxy config init
agentproxy: wrote /home/me/.config/agentproxy/config.yaml
$ agentproxy config check
/home/me/.config/agentproxy/config.yaml: no mistakes
$ agentproxy config show
# The configuration file: /home/me/.config/agentproxy/config.yaml
listen: "127.0.0.1:8080"                 # default
…
` + "```" + `

**Which file.** The one that ` + "`--config`" + ` names; or else ` + "`AGENTPROXY_CONFIG`" + `; or else ` + "`agentproxy/config.yaml`" + ` in your directory of
configurations, if it is there: ` + "`$XDG_CONFIG_HOME`, by default `~/.config`; on macOS `~/Library/Application Support`; on Windows `%AppData%`" + `.
` + "`--config none`" + ` reads no file. The default file is refused if another user owns it or may write to it, for it may name programs that are run, and if a
path in it begins where agentproxy is started: that may be an agent's checkout, and what lies there a planted token, CA or program. The programs of
` + "`signer.command`" + ` that it names run in its directory, so that their arguments begin there.
The services and images name theirs.

**Mistakes.** ` + "`agentproxy config check FILE`" + ` prints every mistake, with line, column and remedy, and ends with 2 if there is one. It looks at the
file alone; [` + "`agentproxy check`" + `](../README.md#when-something-does-not-work) also at what the file names. ` + "`config show`" + ` prints what is in force and where
each value comes from: the file, a flag, a variable, or the default. It shows no secrets.

**Editors.** [agentproxy.schema.json](agentproxy.schema.json) is a JSON schema of all keys. ` + "`config init`" + ` writes it beside the file, whose first line tells
editors with a YAML language server (VS Code's YAML extension, Neovim, Helix): they complete keys, explain them and mark mistakes. ` + "`config schema`" + `
prints it.

A running ` + "`serve`" + ` takes up changes without a restart, but for the keys that say otherwise ([reload.md](reload.md)).
`

// referenceKey is a key of config.example.yaml with the comment above it.
type referenceKey struct {
	path, value, comment string
}

// configurationReference returns what docs/configuration.md has to be.
func configurationReference(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]reflect.Type)
	for _, key := range yamlKeys(reflect.TypeFor[File]()) {
		types[key] = yamlType(reflect.TypeFor[File](), key)
	}
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, group := range readReferenceKeys(t, string(raw)) {
		var names []string
		for _, key := range group {
			names = append(names, "`"+key.path+"`")
		}
		if types[group[0].path] == nil { // a section
			fmt.Fprintf(&b, "\n## %s\n", names[0])
			writeComment(&b, group[0].comment)
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", strings.Join(names, ", "))
		var facts []string
		for _, key := range group {
			fact := fmt.Sprintf("%s, default `%s`", typeName(types[key.path], key.value), key.value)
			if name := variableOf(t, key.path); name != "" {
				fact += fmt.Sprintf(", variable `%s`", name)
			}
			if slices.Contains(fixedKeys, key.path) {
				fact += ", **needs a restart**"
			}
			facts = append(facts, fact)
		}
		b.WriteString(strings.Join(slices.Compact(facts), "  \n") + "\n")
		writeComment(&b, group[0].comment)
	}
	return b.String()
}

// readReferenceKeys returns the keys of the example in their order. Those that
// stand under one comment are one group.
func readReferenceKeys(t *testing.T, example string) (groups [][]referenceKey) {
	t.Helper()
	_, body, ok := strings.Cut(example, "\n\n") // behind what is said of the file
	if !ok {
		t.Fatal("the example has no introduction")
	}
	line := regexp.MustCompile(`^( *)([a-z_]+): ?(.*)$`)
	section, comment := "", ""
	for text := range strings.Lines(body) {
		text = strings.TrimRight(text, "\n")
		if said, ok := strings.CutPrefix(strings.TrimSpace(text), "#"); ok {
			comment += strings.TrimPrefix(said, " ") + "\n"
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil {
			if text != "" {
				t.Fatalf("the example has a line that the reference cannot show: %s", text)
			}
			continue
		}
		key := referenceKey{path: m[2], value: m[3], comment: comment}
		if m[1] == "" {
			section = ""
		}
		if m[1] == "" && m[3] == "" {
			section = m[2] + "."
		} else {
			key.path = section + m[2]
		}
		last := len(groups) - 1
		if comment == "" && key.value != "" && last >= 0 && groups[last][0].value != "" && sectionOf(groups[last][0].path) == sectionOf(key.path) {
			groups[last] = append(groups[last], key)
		} else {
			groups = append(groups, []referenceKey{key})
		}
		comment = ""
	}
	return groups
}

func sectionOf(key string) string { return key[:strings.LastIndex(key, ".")+1] }

// writeComment writes a comment as a paragraph, and what is indented in it as
// code.
func writeComment(b *strings.Builder, comment string) {
	if comment == "" {
		return
	}
	code := false
	b.WriteString("\n")
	for text := range strings.Lines(comment) {
		if indented := strings.HasPrefix(text, "  "); indented != code {
			code = indented
			if code {
				b.WriteString("\n```yaml\n")
			} else {
				b.WriteString("```\n\n")
			}
		}
		if code {
			b.WriteString(strings.TrimPrefix(text, "  "))
		} else {
			b.WriteString(escapeMarkdown(text))
		}
	}
	if code {
		b.WriteString("```\n")
	}
}

// escapeMarkdown keeps what a comment has from being taken for markup.
func escapeMarkdown(text string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "`", "\\`").Replace(text)
}

// yamlType returns the type of the field that a key is read into.
func yamlType(t reflect.Type, key string) reflect.Type {
	name, rest, deeper := strings.Cut(key, ".")
	for field := range t.Fields() {
		tag, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			if found := yamlType(field.Type, key); found != nil {
				return found
			}
		case tag == name && deeper:
			return yamlType(field.Type, rest)
		case tag == name:
			return field.Type
		}
	}
	return nil
}

// typeName says in a word what a key holds.
func typeName(t reflect.Type, value string) string {
	if _, err := time.ParseDuration(value); err == nil && t.Kind() == reflect.String {
		return "a duration"
	}
	if t == reflect.TypeFor[otherHosts]() {
		return "a word or a list"
	}
	return kindName(t)
}

// variableOf returns the environment variable that overrides a key, by setting
// it.
func variableOf(t *testing.T, key string) string {
	t.Helper()
	name := "AGENTPROXY_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
	plain, err := Load("", configtest.Environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	set, err := Load("", configtest.Environment(map[string]string{name: "refuse"}))
	if err == nil && reflect.DeepEqual(yamlValues(plain), yamlValues(set)) {
		return ""
	}
	return name
}

// yamlValues returns what a configuration says, key by key.
func yamlValues(c *Config) []string {
	var values []string
	v := reflect.ValueOf(*c.file)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			values = append(values, fmt.Sprintf("%+v", v.Field(i).Interface()))
		}
	}
	return values
}
