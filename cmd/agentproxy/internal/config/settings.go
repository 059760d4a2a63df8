package config

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Setting is a key of the configuration in force.
type Setting struct {
	Path   string
	Value  any    // as package yaml writes it, nil for a section; secrets are left out
	Origin string // where the value comes from
}

// Hidden stands for a secret in [Setting.Value].
const Hidden = "(not shown)"

// Settings returns all keys that are in force, in the order of [File], and where each comes
// from. Tokens, and users and passwords in URLs, are left out.
func (c *Config) Settings(env cli.Environment) (all []Setting) {
	file := reflect.ValueOf(*c.file)
	for _, k := range keysOfFile() {
		s := Setting{Path: k.Path}
		if !holdsKeys(k.Field.Type) {
			s.Value, s.Origin = withoutSecret(k.Field, plain(file.FieldByIndex(k.index))), c.origin(k.Path, env)
		}
		all = append(all, s)
	}
	return all
}

// withoutSecret returns the value of a field without what is secret in it.
func withoutSecret(field reflect.StructField, value any) any {
	text, _ := value.(string)
	switch field.Tag.Get("secret") {
	case "true":
		if text != "" {
			return Hidden
		}
	case "userinfo":
		if u, err := url.Parse(text); err == nil && u.User != nil {
			u.User = nil
			return strings.Replace(u.String(), "://", "://"+Hidden+"@", 1)
		}
	}
	return value
}

// plain returns a value as package yaml writes it. In the elements of lists it leaves out
// what is not set.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case otherHosts:
		if value.list != nil {
			return value.list
		}
		return value.word
	case ScopeEntry:
		if value.Word != "" {
			return value.Word
		}
	}
	switch v.Kind() {
	case reflect.Map:
		keys := yaml.MapSlice{}
		for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) }) {
			keys = append(keys, yaml.MapItem{Key: key.String(), Value: v.MapIndex(key).Interface()})
		}
		return keys
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		var keys yaml.MapSlice
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			switch {
			case option == "inline":
				inline, _ := plain(value).(yaml.MapSlice)
				keys = append(keys, inline...)
			case name != "-" && !value.IsZero():
				keys = append(keys, yaml.MapItem{Key: name, Value: withoutSecret(field, plain(value))})
			}
		}
		return keys
	}
	return v.Interface()
}

// origin returns where the value of a key comes from.
func (c *Config) origin(key string, env cli.Environment) string {
	if name, ok := c.source.from[key]; ok {
		return name
	}
	if c.source.has(key) && !c.source.left[key] {
		if token := c.source.find(key); token != nil {
			return fmt.Sprintf("file, line %d", token.Position.Line)
		}
	}
	if key == "identity.codex_home" && env.Get("CODEX_HOME") != "" {
		return "CODEX_HOME"
	}
	return "default"
}
