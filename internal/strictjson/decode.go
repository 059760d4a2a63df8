// Package strictjson reads JSON that other programs write, and edits it in place.
//
// A [Decoder] takes field names exactly as they are spelled, refuses a name that
// appears twice, treats null and "" as absent, and names the field in its errors but
// never the value. An [Edit] opened by [ParseEdit] keeps whatever is not set, to the
// letter.
package strictjson

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

// Decoder holds the first error of reading a document. What is read after it is
// empty. The zero value is ready to use.
type Decoder struct {
	Err error
}

// Value is one JSON value of a document, or the absence of one.
type Value struct {
	d      *Decoder
	path   string
	offset int
	raw    []byte // nil: absent
}

// Object is a JSON object whose members were found, and not yet read.
type Object struct {
	Value
	members map[string]Value
}

// Error is a fault at a byte offset of the document. It shows no value.
type Error struct {
	Path   string // of the field, or the document's name
	Offset int    // from 0, in bytes
	Syntax bool   // the document is not JSON, as a half-written file is
	Binary bool   // the document is not text
	Reason string
}

// Error returns "path: reason".
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Document reads raw as one JSON object. name begins the path in errors.
func (d *Decoder) Document(name string, raw []byte) Object {
	v := d.Value(name, raw)
	if string(v.raw) == "null" {
		v.Fail("expected object")
	}
	return v.Object()
}

// withoutMark drops a byte order mark, which parsers may ignore (RFC 8259, section 8.1).
func withoutMark(raw []byte) []byte { return bytes.TrimPrefix(raw, []byte("\ufeff")) }

// Value reads raw as one JSON value of any type. name begins the path in errors.
func (d *Decoder) Value(name string, raw []byte) Value {
	raw = withoutMark(raw)
	v := Value{d: d, path: name, raw: raw}
	fail := func(e Error) Value {
		e.Path, e.Syntax = name, true
		if d.Err == nil {
			d.Err = &e
		}
		return Value{d: d, path: name}
	}
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return fail(Error{Reason: "empty"})
	case !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0:
		return fail(Error{Reason: "not text", Binary: true})
	}
	var text json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if err := dec.Decode(&text); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fail(Error{Offset: len(v.raw), Reason: "ends in the middle"})
		}
		offset := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = max(0, int(syntax.Offset)-1) // it counts the byte it stumbled on
		}
		return fail(Error{Offset: offset, Reason: "not JSON"})
	}
	end := int(dec.InputOffset())
	if len(bytes.TrimSpace(v.raw[end:])) > 0 {
		return fail(Error{Offset: end, Reason: "more follows the JSON value"})
	}
	v.offset += end - len(text) // what the members' offsets count from
	v.raw = text
	return v
}

// Absent reports whether there is no value, or null, or the document is at fault.
func (v Value) Absent() bool {
	return v.d.Err != nil || len(v.raw) == 0 || string(v.raw) == "null"
}

// Fail notes a fault of v, unless there is an earlier one.
func (v Value) Fail(reason string) {
	if v.d.Err == nil {
		v.d.Err = &Error{Path: v.path, Offset: v.offset, Reason: reason}
	}
}

// Detached returns v with a decoder of its own, which it returns as well: the faults
// of v are then not the document's.
func (v Value) Detached() (Value, *Decoder) {
	v.d = &Decoder{Err: v.d.Err}
	return v, v.d
}

// IsString reports whether v is a string.
func (v Value) IsString() bool { return !v.Absent() && v.raw[0] == '"' }

// Object reads v as an object, one without members if it is absent.
func (v Value) Object() Object {
	o := Object{Value: v}
	if v.Absent() {
		return o
	}
	if v.raw[0] != '{' {
		v.Fail("expected object")
		return o
	}
	o.members = make(map[string]Value)
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	dec.Token() // the brace; v is known to be JSON, so nothing here fails
	for dec.More() {
		name, _ := dec.Token()
		key, _ := name.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			v.Fail("not JSON")
			return o
		}
		if _, twice := o.members[key]; twice {
			v.Fail(fmt.Sprintf("field %.40q appears twice", key))
			return o
		}
		o.members[key] = Value{v.d, join(v.path, key), v.offset + int(dec.InputOffset()) - len(raw), raw}
	}
	return o
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Get returns the member of that name, which may be absent.
func (o Object) Get(name string) Value {
	if m, ok := o.members[name]; ok {
		return m
	}
	return Value{d: o.d, path: join(o.path, name), offset: o.offset}
}

// Object reads an object, one without members if it is absent.
func (o Object) Object(name string) Object { return o.Get(name).Object() }

// Text reads a string, "" if it is absent.
func (o Object) Text(name string) string { return o.Get(name).Text() }

// Text reads v as a string, "" if it is absent.
func (v Value) Text() string {
	var s string
	if !v.Absent() && json.Unmarshal(v.raw, &s) != nil {
		v.Fail("expected string")
	}
	return s
}

// Required reads a string that must be there and not be empty.
func (o Object) Required(name string) string {
	s := o.Text(name)
	if s == "" {
		o.Get(name).Fail("missing")
	}
	return s
}

// Bool reads true or false, false if it is absent.
func (o Object) Bool(name string) bool {
	var b bool
	if v := o.Get(name); !v.Absent() && json.Unmarshal(v.raw, &b) != nil {
		v.Fail("expected true or false")
	}
	return b
}

// Time reads an RFC 3339 time, the zero time if it is absent.
func (o Object) Time(name string) time.Time {
	s := o.Text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		o.Get(name).Fail("expected RFC 3339 time")
	}
	return t
}

// Seconds reads a NumericDate (RFC 7519, section 2), the zero time if it is absent.
func (o Object) Seconds(name string) time.Time {
	const year10000 = 253402300800
	v := o.Get(name)
	if v.Absent() {
		return time.Time{}
	}
	n, err := strconv.ParseFloat(string(v.raw), 64)
	if err != nil || n < 0 || n >= year10000 {
		v.Fail("expected seconds since 1970")
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}
