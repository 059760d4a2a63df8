package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Member is one member of an [Edit].
type Member struct {
	Name    string
	RawName json.RawMessage // as it was written, for "\ud800" is no Go string
	Value   json.RawMessage
}

// Edit is a JSON object that is being edited. Its members keep their order and, unless
// they are set, their text.
type Edit []Member

// ParseEdit opens the JSON object raw for editing.
func ParseEdit(raw []byte) (Edit, error) {
	raw = withoutMark(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if token != json.Delim('{') {
		return nil, errors.New("expected object")
	}
	var o Edit
	for dec.More() {
		before := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		text := bytes.TrimLeft(raw[before:dec.InputOffset()], ", \t\r\n")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		o = append(o, Member{name.(string), text, value})
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, err
	}
	return o, nil
}

// Get returns the text of the member called name, nil if there is none.
func (o Edit) Get(name string) json.RawMessage {
	for _, m := range o {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Set replaces the member called name, or adds it at the end.
func (o *Edit) Set(name string, raw json.RawMessage) {
	for i, m := range *o {
		if m.Name == name {
			(*o)[i].Value = raw
			return
		}
	}
	*o = append(*o, Member{name, quoteJSON(name), raw})
}

// SetText is [Edit.Set] for a string.
func (o *Edit) SetText(name, value string) { o.Set(name, quoteJSON(value)) }

func quoteJSON(s string) json.RawMessage { return AppendString(nil, s) }

// Compact returns the object's text on one line, strings as they were.
func (o Edit) Compact() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(m.RawName)
		b.WriteByte(':')
		b.Write(m.Value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Indented returns the object's text with an indentation of two spaces.
func (o Edit) Indented() ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, o.Compact(), "", "  "); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// AppendString appends s as a JSON string to b, as serde_json and Python write it.
// encoding/json escapes U+2028 and U+2029 whatever its settings, and what is signed or
// compared must be the same bytes everywhere.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		default:
			if j := strings.IndexByte("\b\t\n\f\r", c); j >= 0 {
				b = append(b, '\\', "btnfr"[j])
			} else {
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&15])
			}
		}
	}
	return append(b, '"')
}
