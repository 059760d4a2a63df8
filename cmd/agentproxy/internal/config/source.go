package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// source is the file that a configuration comes from. It finds the lines of keys.
type source struct {
	name string // of the file in messages
	path string // "" if there is none
	body ast.Node
	from map[string]string // keys that came from elsewhere, and the variables or flags
	left map[string]bool   // keys that the file leaves to the surroundings, be it by ""
	// wrong are the mistakes that were found, and broken the keys whose values the file
	// means to set and does not, for it is wrong about their names or types.
	wrong  []*Error
	broken []string
}

// parse reads the syntax of raw.
func (s *source) parse(raw []byte) *Error {
	raw = safefile.Text(raw)
	if !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) {
		return s.errorAt(nil, errors.New("not a text file; name a configuration in YAML with --config"))
	}
	file, err := parser.ParseBytes(raw, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return s.yamlError(err)
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType:
		case s.body != nil:
			return s.errorAt(doc.Body.GetToken(), errors.New("a second document begins here; a configuration is one document, so remove the line ---"))
		default:
			s.body = doc.Body
		}
	}
	return nil
}

// maxMistakes bounds how many keys are looked for that do not exist or have a wrong type.
const maxMistakes = 100

// decode returns the keys of the source. Keys that it does not have are as initial has them.
// What it finds wrong it adds, and goes on without.
func (s *source) decode(initial func() *File) *File {
	f := initial()
	if s.body == nil {
		return f
	}
	ast.Walk(visitor(s.checkStrictly), s.body)
	defer func() { sortByLine(s.wrong) }() // the decoder has no order
	for range maxMistakes {
		f = initial()
		err := yaml.NewDecoder(strings.NewReader(""), yaml.Strict(), yaml.AllowDuplicateMapKey()).DecodeFromNode(s.body, f)
		if err == nil {
			return f
		}
		if len(s.broken) > 0 && strings.Contains(err.Error(), "could not find alias") {
			break // its anchor went with what was removed
		}
		e := s.yamlError(err)
		s.wrong = append(s.wrong, e)
		if !remove(s.body, e.key) {
			break
		}
		s.broken = append(s.broken, e.key)
	}
	return f
}

// remove removes the entries with a key, or the element of a list, from a document, and
// reports whether there were any.
func remove(body ast.Node, key string) (removed bool) {
	meant := func(node ast.Node) bool {
		found := node.GetPath() == "$."+key
		removed = removed || found
		return found
	}
	ast.Walk(visitor(func(node ast.Node) {
		switch node := node.(type) {
		case *ast.MappingNode:
			node.Values = slices.DeleteFunc(node.Values, func(v *ast.MappingValueNode) bool { return meant(v.Key) || meant(v.Value) })
		case *ast.SequenceNode:
			node.Values = slices.DeleteFunc(node.Values, meant)
		}
	}), body)
	return removed
}

// visitor is called for each node of a document.
type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(node ast.Node) ast.Visitor {
	v(node)
	return v
}

// add adds the mistakes in the values of keys that err joins. It leaves out what may come of
// a key that is broken: it would not be wrong if that had its value.
func (s *source) add(err error) {
	for _, err := range each(err) {
		e := s.locate(err)
		if !slices.ContainsFunc(s.broken, e.comesOf) {
			s.wrong = append(s.wrong, e)
		}
	}
}

// comesOf reports whether a mistake may be none if a key that is broken had its value: it is
// about that key or one that holds it, or the message names it, in full or beside it. Where
// what is meant is not known (".*"), it may be all that stands beside it.
func (e *Error) comesOf(broken string) bool {
	message := e.Err.Error()
	cut := strings.LastIndex(broken, ".") + 1
	name := broken[cut:]
	beside := cut > 0 && strings.HasPrefix(e.key+".", broken[:cut])
	if name == "*" {
		return beside
	}
	return strings.HasPrefix(e.key, broken) || e.key != "" && strings.HasPrefix(broken, e.key) ||
		strings.Contains(message, broken) || beside && strings.Contains(message, name)
}

const remedyKeys = "see config.example.yaml for the keys and their values"

// checkStrictly adds the mistakes in a node that the decoder passes over.
func (s *source) checkStrictly(node ast.Node) {
	switch node := node.(type) {
	case *ast.MappingNode:
		seen := make(map[string]*token.Position)
		node.Values = slices.DeleteFunc(node.Values, func(v *ast.MappingValueNode) bool {
			key := v.Key.GetToken()
			if kind := v.Key.Type(); kind != ast.StringType && kind != ast.MergeKeyType {
				s.fail(v.Key, "there is no key %s; %s", key.Value, remedyKeys)
				return true
			}
			before, again := seen[key.Value]
			if again {
				s.fail(v.Key, "key %q already defined at [%d:%d]; keep one of them", key.Value, before.Line, before.Column)
			} else {
				seen[key.Value] = key.Position
			}
			return again
		})
	case *ast.IntegerNode, *ast.FloatNode:
		// As text it would become the number's value, which differs for 0123.
		key := strings.TrimPrefix(node.GetPath(), "$.")
		value := fmt.Sprint(node.(ast.ScalarNode).GetValue())
		if value != node.GetToken().Value && key != "retry_body_limit" {
			s.fail(node, "%s: YAML takes this for a number and would change it; put it in quotes", key)
		}
	}
}

func (s *source) fail(node ast.Node, format string, args ...any) {
	s.wrong = append(s.wrong, s.errorAt(node.GetToken(), fmt.Errorf(format, args...)))
}

// yamlError returns an error of the YAML package in words for users.
func (s *source) yamlError(err error) *Error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return s.errorAt(nil, err)
	}
	outer, inner := s.keysOf(e.GetToken())
	key := outer
	switch e := e.(type) {
	case *yaml.UnknownFieldError:
		key = inner
		err = s.unknownKey(inner)
	case *yaml.TypeError:
		err = fmt.Errorf("%s: it is %s, but must be %s; %s", outer, kindName(e.SrcType), kindName(e.DstType), remedyKeys)
	case *yaml.UnexpectedNodeTypeError:
		err = fmt.Errorf("%s: it is %s, but must be %s; %s", outer, nodeName(e.Actual), nodeName(e.Expected), remedyKeys)
	default:
		message := e.GetMessage()
		if strings.Contains(message, "'\t'") {
			err = errors.New("not YAML: a tab is no indentation; write spaces")
			break
		}
		err = fmt.Errorf("not YAML: %s; %s", strings.Join(strings.Fields(message), " "), remedyKeys)
	}
	located := s.errorAt(e.GetToken(), err)
	located.key = key
	return located
}

// unknownKey returns the mistake that there is no such key, with the one that may be meant.
func (s *source) unknownKey(key string) error {
	if meant := suggest(key); meant != "" {
		s.broken = append(s.broken, meant)
		return fmt.Errorf("there is no key %s; did you mean %s?", key, meant)
	}
	s.broken = append(s.broken, key[:strings.LastIndex(key, ".")+1]+"*")
	return fmt.Errorf("there is no key %s; %s", key, remedyKeys)
}

// locate returns a *keyError as an [*Error] that says where the key is.
func (s *source) locate(err error) *Error {
	e, ok := errors.AsType[*keyError](err)
	if !ok {
		return s.errorAt(nil, err)
	}
	if name, ok := s.from[e.key]; ok {
		return &Error{Where: name, Err: e.err, key: e.key}
	}
	located := s.errorAt(s.find(e.key), e)
	located.key = e.key
	return located
}

// errorAt returns an error at a place of the source, nil for the whole of it.
func (s *source) errorAt(t *token.Token, err error) *Error {
	e := &Error{Where: s.at(t), Err: err}
	if t != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

func (s *source) at(t *token.Token) string {
	if t == nil {
		return s.name
	}
	return fmt.Sprintf("%s:%d", s.name, t.Position.Line)
}

// has reports whether key is set in the source, to whatever value.
func (s *source) has(key string) bool {
	if s.body == nil {
		return false
	}
	path, err := yaml.PathString("$." + key)
	if err != nil {
		return false
	}
	node, err := path.FilterNode(s.body)
	return err == nil && node != nil
}

// find returns the place of key, or of what it is missing from.
func (s *source) find(key string) *token.Token {
	for s.body != nil && key != "" {
		path, err := yaml.PathString("$." + key)
		if err != nil {
			return nil
		}
		if node, err := path.FilterNode(s.body); err == nil && node != nil {
			return node.GetToken()
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return nil
}

// keysOf returns the paths of the outermost and the innermost of the keys and
// values that begin at t.
func (s *source) keysOf(t *token.Token) (outer, inner string) {
	var paths []string
	if s.body != nil {
		ast.Walk(visitor(func(node ast.Node) {
			if path, ok := strings.CutPrefix(node.GetPath(), "$."); ok && node.GetToken() == t {
				paths = append(paths, path)
			}
		}), s.body)
	}
	if len(paths) == 0 {
		return "configuration", "configuration"
	}
	return paths[0], paths[len(paths)-1]
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Bool:
		return "true or false"
	default:
		return "a number"
	}
}

func nodeName(t ast.NodeType) string {
	switch t {
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.StringType, ast.LiteralType:
		return "text"
	default:
		return strings.ToLower(t.String())
	}
}
