package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

func TestExampleConfigIsTheDefaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "..", "config.example.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{name: path}
	if err := s.parse(raw); err != nil {
		t.Fatal(err)
	}
	got := s.decode(func() *File { return new(File) }) // what the file leaves out would differ
	if len(s.wrong) > 0 {
		t.Fatal(s.wrong)
	}
	options := cmp.Options{cmp.AllowUnexported(otherHosts{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(Defaults(), got, options); diff != "" {
		t.Errorf("the example is not the defaults (-default +example):\n%s", diff)
	}
	if _, err := Load(path, configtest.Environment(nil)); err != nil {
		t.Error(err)
	}

	var keys map[string]any
	if err := yaml.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range yamlKeys(reflect.TypeFor[File]()) {
		if !hasKey(keys, key) {
			t.Errorf("the example leaves out %s", key)
		}
	}
	for _, key := range yamlKeys(reflect.TypeFor[Rule]()) {
		if !regexp.MustCompile(`\b` + key + `:`).Match(raw) {
			t.Errorf("the example does not mention %s, which a rule may have", key)
		}
	}
	for _, key := range yamlKeys(reflect.TypeFor[profileKeys]()) {
		if !regexp.MustCompile(`#.*\b` + key[strings.LastIndex(key, ".")+1:] + `:`).Match(raw) {
			t.Errorf("the example does not mention %s, which a profile may have", key)
		}
	}
}

// yamlKeys returns the keys of a struct and of those in it.
func yamlKeys(t reflect.Type) []string {
	var keys []string
	for field := range t.Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case !field.IsExported():
		case option == "inline":
			keys = append(keys, yamlKeys(field.Type)...)
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[otherHosts]():
			for _, key := range yamlKeys(field.Type) {
				keys = append(keys, name+"."+key)
			}
		default:
			keys = append(keys, name)
		}
	}
	return keys
}

func hasKey(keys map[string]any, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	value, ok := keys[name]
	if !ok || !deeper {
		return ok
	}
	below, ok := value.(map[string]any)
	return ok && hasKey(below, rest)
}
