package config

import (
	"errors"
	"fmt"
	"reflect"
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
	from map[string]string // keys that came from the environment, and their variables
}

// decode decodes raw into f. Keys that raw does not have stay as they are.
func (s *source) decode(raw []byte, f *File) error {
	raw = safefile.Text(raw)
	if !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) {
		return &Error{s.name, errors.New("not a text file; name a configuration in YAML with --config")}
	}
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return s.yamlError(err)
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType:
		case s.body != nil:
			return &Error{s.at(doc.Body.GetToken()), errors.New("a second document begins here; a configuration is one document, so remove the line ---")}
		default:
			s.body = doc.Body
		}
	}
	if s.body == nil {
		return nil
	}
	var strict strictness
	if ast.Walk(&strict, s.body); strict.err != nil {
		return &Error{s.at(strict.token), strict.err}
	}
	if err := yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(s.body, f); err != nil {
		return s.yamlError(err)
	}
	return nil
}

const remedyKeys = "see config.example.yaml for the keys and their values"

// strictness finds mistakes that the decoder passes over.
type strictness struct {
	token *token.Token
	err   error
}

// Visit implements ast.Visitor.
func (s *strictness) Visit(node ast.Node) ast.Visitor {
	switch node := node.(type) {
	case *ast.MappingValueNode:
		if kind := node.Key.Type(); kind != ast.StringType && kind != ast.MergeKeyType {
			s.fail(node.Key, "there is no key %s; %s", node.Key.GetToken().Value, remedyKeys)
		}
	case *ast.IntegerNode, *ast.FloatNode:
		// As text it would become the number's value, which differs for 0123.
		key := strings.TrimPrefix(node.GetPath(), "$.")
		value := fmt.Sprint(node.(ast.ScalarNode).GetValue())
		if value != node.GetToken().Value && key != "retry_body_limit" {
			s.fail(node, "%s: YAML takes this for a number and would change it; put it in quotes", key)
		}
	}
	return s
}

func (s *strictness) fail(node ast.Node, format string, args ...any) {
	if s.err == nil {
		s.token, s.err = node.GetToken(), fmt.Errorf(format, args...)
	}
}

// yamlError returns an error of the YAML package in words for users.
func (s *source) yamlError(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return &Error{s.name, err}
	}
	outer, inner := s.keysOf(e.GetToken())
	switch e := e.(type) {
	case *yaml.UnknownFieldError:
		err = fmt.Errorf("there is no key %s; %s", inner, remedyKeys)
	case *yaml.TypeError:
		err = fmt.Errorf("%s: it is %s, but must be %s; %s", outer, kindName(e.SrcType), kindName(e.DstType), remedyKeys)
	case *yaml.UnexpectedNodeTypeError:
		err = fmt.Errorf("%s: it is %s, but must be %s; %s", outer, nodeName(e.Actual), nodeName(e.Expected), remedyKeys)
	default:
		message := oneLine(e.GetMessage())
		if duplicate, ok := strings.CutPrefix(message, "mapping "); ok && strings.Contains(message, "already defined") {
			err = fmt.Errorf("%s; keep one of them", duplicate)
			break
		}
		err = fmt.Errorf("not YAML: %s; %s", message, remedyKeys)
	}
	return &Error{s.at(e.GetToken()), err}
}

// locate returns a *keyError as an [*Error] that says where the key is.
func (s *source) locate(err error) error {
	e, ok := errors.AsType[*keyError](err)
	if !ok {
		return err
	}
	if name, ok := s.from[e.key]; ok {
		return &Error{name, e.err}
	}
	return &Error{s.at(s.find(e.key)), e}
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
	found := tokenFinder{token: t}
	if s.body != nil {
		ast.Walk(&found, s.body)
	}
	if len(found.paths) == 0 {
		return "configuration", "configuration"
	}
	return found.paths[0], found.paths[len(found.paths)-1]
}

type tokenFinder struct {
	token *token.Token
	paths []string
}

// Visit implements ast.Visitor.
func (f *tokenFinder) Visit(node ast.Node) ast.Visitor {
	if path, ok := strings.CutPrefix(node.GetPath(), "$."); ok && node.GetToken() == f.token {
		f.paths = append(f.paths, path)
	}
	return f
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

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
