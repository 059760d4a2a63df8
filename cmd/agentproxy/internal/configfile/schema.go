package configfile

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/signer"
)

// node is a JSON schema, of draft 7, which editors know best.
type node struct {
	Schema      string           `json:"$schema,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Type        any              `json:"type,omitempty"` // a name or a list of them
	Enum        []any            `json:"enum,omitempty"`
	Pattern     string           `json:"pattern,omitempty"`
	Minimum     *int             `json:"minimum,omitempty"`
	Default     any              `json:"default,omitempty"`
	AnyOf       []*node          `json:"anyOf,omitempty"`
	Items       *node            `json:"items,omitempty"`
	Properties  map[string]*node `json:"properties,omitempty"`
	Required    []string         `json:"required,omitempty"`
	Additional  any              `json:"additionalProperties,omitempty"` // a bool or a *node
}

// Schema returns the JSON schema of the configuration file, made of the keys that package
// config reads and of what the example says of them.
func Schema() []byte {
	s := maker{said: Explanations()}
	root := s.object("", reflect.TypeFor[config.File](), reflect.ValueOf(*config.Defaults()))
	root.Schema = "http://json-schema.org/draft-07/schema#"
	root.Title = "The configuration of agentproxy"
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(err) // a node holds nothing that JSON cannot
	}
	return out.Bytes()
}

// maker makes the schema.
type maker struct{ said map[string]string }

// object returns the schema of a mapping. defaults are its values, the zero Value if it has
// none of its own.
func (s maker) object(path string, t reflect.Type, defaults reflect.Value) *node {
	n := &node{Type: []string{"object", "null"}, Properties: make(map[string]*node), Additional: false}
	s.fields(n, path, t, defaults)
	return n
}

func (s maker) fields(n *node, path string, t reflect.Type, defaults reflect.Value) {
	for field := range t.Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		value := reflect.Value{}
		if defaults.IsValid() {
			value = defaults.FieldByIndex(field.Index)
		}
		if option == "inline" {
			s.fields(n, path, field.Type, value)
			continue
		}
		if name == "-" {
			continue
		}
		key := s.value(path+name, field.Type, field.Tag, value)
		key.Description = s.describe(path+name, field.Tag)
		n.Properties[name] = key
		if field.Tag.Get("required") != "" {
			n.Required = append(n.Required, name)
		}
	}
	// Without a signer a rule says nothing.
	if strings.HasSuffix(path, "rules[].") && n.Properties["use"] != nil && n.Required == nil {
		n.Required = []string{"use"}
		n.Properties["use"].Enum = append(n.Properties["use"].Enum, config.UseNone, config.UseClient, config.UseRefuse)
	}
}

// element is a step into a list.
var element = regexp.MustCompile(`[a-z_]+\[\]\.`)

// describe returns what is said of a key. Those of profiles and rules mean what those of the
// same name above them mean.
func (s maker) describe(path string, tag reflect.StructTag) string {
	if doc := tag.Get("doc"); doc != "" {
		return doc
	}
	if said := s.said[path]; said != "" {
		return said
	}
	return s.said[element.ReplaceAllString(path, "")]
}

// wordOrList is a type that is written as a word or as a list of hosts.
type wordOrList interface {
	WordOrList() (word string, list []string)
}

// value returns the schema of a key's value. A key without one, as in "log:", is as one that
// is not there.
func (s maker) value(path string, t reflect.Type, tag reflect.StructTag, value reflect.Value) *node {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.value(path, t.Elem(), tag, reflect.Value{})
	case t.Implements(reflect.TypeFor[wordOrList]()):
		n := &node{AnyOf: []*node{{Enum: []any{"tunnel", "refuse", nil}}, {Type: "array", Items: text("")}}}
		if value.IsValid() {
			n.Default, _ = value.Interface().(wordOrList).WordOrList()
		}
		return n
	case t.Kind() == reflect.Struct:
		return s.object(path+".", t, value)
	case t.Kind() == reflect.Map:
		return &node{Type: []string{"object", "null"}, Additional: text("")}
	case t.Kind() == reflect.Slice:
		n := &node{Type: []string{"array", "null"}}
		switch items := t.Elem(); {
		case items == reflect.TypeFor[config.ScopeEntry]():
			entry := s.object(path+"[].", items, reflect.Value{})
			entry.Type = "object"
			n.Items = &node{AnyOf: []*node{{Enum: []any{signer.WordCodex, signer.WordAll}}, entry}}
		case items.Kind() == reflect.Struct:
			n.Items = s.object(path+"[].", items, reflect.Value{})
			n.Items.Type = "object"
		default:
			n.Items = s.scalar(items, tag)
			if items.Kind() == reflect.String && n.Items.Enum == nil {
				n.Items = text("")
			}
			n.Items.Type, n.Items.Enum = withoutNull(n.Items.Type), slices.DeleteFunc(n.Items.Enum, func(v any) bool { return v == nil })
		}
		if list, ok := valueOf(value).([]string); ok && len(list) > 0 {
			n.Default = list
		}
		return n
	}
	n := s.scalar(t, tag)
	if value.IsValid() {
		n.Default = value.Interface()
	}
	return n
}

func valueOf(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	return v.Interface()
}

func withoutNull(t any) any {
	if names, ok := t.([]string); ok {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "null" })
	}
	return t
}

// scalar returns the schema of a value that is no list and no mapping, as the tag of its
// field has it.
func (s maker) scalar(t reflect.Type, tag reflect.StructTag) *node {
	n := new(node)
	switch t.Kind() {
	case reflect.Bool:
		n.Type = []string{"boolean", "null"}
	case reflect.String:
		switch tag.Get("kind") {
		case "text":
			n = text("null")
		case "address":
			n.Type, n.Pattern = []string{"string", "null"}, `^$|:[0-9]{1,5}$|^unix:/`
		case "duration":
			n.Type, n.Pattern = []string{"string", "null"}, `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`
		default:
			n.Type = []string{"string", "null"}
		}
	default:
		n.Type = []string{"integer", "null"}
		if least, err := strconv.Atoi(tag.Get("min")); err == nil {
			n.Minimum = &least
		}
	}
	if words := tag.Get("enum"); words != "" {
		n.Type = nil
		for word := range strings.SplitSeq(words, ",") {
			n.Enum = append(n.Enum, word)
		}
		n.Enum = append(n.Enum, nil)
	}
	return n
}

// text returns the schema of text, which YAML may take for a number or a truth value.
func text(besides string) *node {
	types := []string{"string", "number", "boolean"}
	if besides != "" {
		types = append(types, besides)
	}
	return &node{Type: types}
}
