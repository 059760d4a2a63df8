package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// decoder reads JSON that others write: field names exactly as they are
// spelled, a name twice is an error (Codex refuses it too), null and "" are as
// absent, and an error names the field and its place but not its value. The
// first error sticks; what is read after it is empty.
type decoder struct {
	err error
}

// value is one JSON value. raw is nil where there is none.
type value struct {
	d      *decoder
	path   string
	offset int
	raw    []byte
}

// object is a JSON object whose members were read, not their values.
type object struct {
	value
	members map[string]value
}

// jsonError is a fault at a byte offset of the document.
type jsonError struct {
	path   string // of the field, or the document's name
	offset int
	syntax bool // not JSON at all, as a half-written file is
	reason string
}

func (e *jsonError) Error() string {
	if e.path == "" {
		return e.reason
	}
	return e.path + ": " + e.reason
}

// document reads raw as one JSON object. name begins the path in errors.
func (d *decoder) document(name string, raw []byte) object {
	v := value{d: d, path: name, raw: raw}.checked()
	if string(v.raw) == "null" {
		v.fail("expected object")
	}
	return v.object()
}

// checked checks that the whole of v is JSON text.
func (v value) checked() value {
	fail := func(offset int, reason string) value {
		if v.d.err == nil {
			v.d.err = &jsonError{v.path, offset, true, reason}
		}
		return value{d: v.d, path: v.path}
	}
	switch {
	case len(bytes.TrimSpace(v.raw)) == 0:
		return fail(0, "empty")
	case !utf8.Valid(v.raw) || bytes.IndexByte(v.raw, 0) >= 0:
		return fail(0, "not text")
	}
	var text json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if err := dec.Decode(&text); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fail(len(v.raw), "ends in the middle")
		}
		offset := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = max(0, int(syntax.Offset)-1) // it counts the byte it stumbled on
		}
		return fail(offset, "not JSON")
	}
	end := int(dec.InputOffset())
	if len(bytes.TrimSpace(v.raw[end:])) > 0 {
		return fail(end, "more follows the JSON value")
	}
	v.offset += end - len(text) // what the members' offsets count from
	v.raw = text
	return v
}

func (v value) absent() bool {
	return v.d.err != nil || len(v.raw) == 0 || string(v.raw) == "null"
}

func (v value) fail(reason string) {
	if v.d.err == nil {
		v.d.err = &jsonError{path: v.path, offset: v.offset, reason: reason}
	}
}

// object reads v as an object.
func (v value) object() object {
	o := object{value: v}
	if v.absent() {
		return o
	}
	if v.raw[0] != '{' {
		v.fail("expected object")
		return o
	}
	o.members = make(map[string]value)
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	dec.Token() // the brace; v is known to be JSON, so nothing here fails
	for dec.More() {
		name, _ := dec.Token()
		key, _ := name.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			v.fail("not JSON")
			return o
		}
		if _, twice := o.members[key]; twice {
			v.fail(fmt.Sprintf("field %.40q appears twice", key))
			return o
		}
		o.members[key] = value{v.d, join(v.path, key), v.offset + int(dec.InputOffset()) - len(raw), raw}
	}
	return o
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// get returns the member of that name, a value without raw if there is none.
func (o object) get(name string) value {
	if m, ok := o.members[name]; ok {
		return m
	}
	return value{d: o.d, path: join(o.path, name), offset: o.offset}
}

func (o object) object(name string) object { return o.get(name).object() }

// string reads a string, "" if it is absent.
func (o object) string(name string) string { return o.get(name).string() }

func (v value) string() string {
	var s string
	if !v.absent() && json.Unmarshal(v.raw, &s) != nil {
		v.fail("expected string")
	}
	return s
}

// required reads a string that must be there.
func (o object) required(name string) string {
	s := o.string(name)
	if s == "" {
		o.get(name).fail("missing")
	}
	return s
}

// bool reads true or false, false if it is absent.
func (o object) bool(name string) bool {
	var b bool
	if v := o.get(name); !v.absent() && json.Unmarshal(v.raw, &b) != nil {
		v.fail("expected true or false")
	}
	return b
}

// time reads RFC 3339, the zero time if it is absent.
func (o object) time(name string) time.Time {
	s := o.string(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		o.get(name).fail("expected RFC 3339 time")
	}
	return t
}

// seconds reads a JWT's NumericDate, the zero time if it is absent.
func (o object) seconds(name string) time.Time {
	const year10000 = 253402300800
	v := o.get(name)
	if v.absent() {
		return time.Time{}
	}
	n, err := strconv.ParseFloat(string(v.raw), 64)
	if err != nil || n < 0 || n >= year10000 {
		v.fail("expected seconds since 1970")
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}
