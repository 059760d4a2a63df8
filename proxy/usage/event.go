package usage

import (
	"encoding/json"
	"strconv"
)

// event reads one event, a JSON object of any size, byte by byte. Of all its members
// it looks at six: {"type", "response": {"model", "usage": {"input_tokens",
// "input_tokens_details": {"cached_tokens"}, "output_tokens"}}}. The zero value is
// ready for an event.
//
// encoding/json would hold each string as a whole, and the last event of a response
// repeats all of its text.
type event struct {
	state state
	// path holds the objects that are open and looked at, from the event itself
	// inward.
	path  [4]object
	depth int
	field field // whose value comes
	// skip counts the objects and arrays that are open and not looked at.
	skip int

	text [maxText]byte // of a name, a string or a number
	n    int
	long bool // it does not fit
	name bool // it is a name

	kind  kind
	used  Tokens
	usage bool // the event has one
}

// state says what may come next.
type state uint8

const (
	atValue     state = iota // a value
	atName                   // the name of a member, or the end of the object
	atColon                  // the colon behind a name
	afterValue               // a comma, or the end of the object
	inText                   // a string that is looked at
	inTextEsc                // behind a backslash in it
	inString                 // a string that is not
	inStringEsc              // behind a backslash in it
	inNumber                 // a number that is looked at
	inLiteral                // another number, true, false or null
	inSkipped                // an object or array that is not looked at
	ended                    // the event is complete
	broken                   // it is no JSON object
)

// object is one that is looked at.
type object uint8

const (
	theEvent object = iota
	theResponse
	theUsage
	theDetails
)

// field is a member that is looked at.
type field uint8

const (
	noField field = iota
	fieldResponse
	fieldUsage
	fieldDetails
	fieldType
	fieldModel
	fieldInput
	fieldOutput
	fieldCached
)

// fieldOf returns which member of an object a name is.
func fieldOf(o object, name []byte) field {
	switch o {
	case theEvent:
		switch string(name) {
		case "type":
			return fieldType
		case "response":
			return fieldResponse
		}
	case theResponse:
		switch string(name) {
		case "model":
			return fieldModel
		case "usage":
			return fieldUsage
		}
	case theUsage:
		switch string(name) {
		case "input_tokens":
			return fieldInput
		case "output_tokens":
			return fieldOutput
		case "input_tokens_details":
			return fieldDetails
		}
	case theDetails:
		if string(name) == "cached_tokens" {
			return fieldCached
		}
	}
	return noField
}

// done reports whether nothing that may come matters.
func (e *event) done() bool { return e.state == broken || e.kind == other }

// write reads on.
func (e *event) write(p []byte) {
	for i := 0; i < len(p) && !e.done(); {
		c := p[i]
		switch e.state {
		case inString, inSkipped:
			i += e.pass(p[i:])
			continue
		case inStringEsc:
			e.state = inString
		case inText:
			e.readText(c)
		case inTextEsc:
			e.put(c)
			e.state = inText
		case inNumber, inLiteral:
			if isSpace(c) || c == ',' || c == '}' {
				e.endLiteral()
				continue // c is none of it
			}
			e.put(c)
		default:
			if !isSpace(c) {
				e.step(c)
			}
		}
		i++
	}
}

// pass reads on in what is not looked at, and returns how far.
func (e *event) pass(p []byte) int {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if e.state == inString {
			switch c {
			case '\\':
				if i+1 == len(p) {
					e.state = inStringEsc
					return len(p)
				}
				i++
			case '"':
				e.state = afterValue
				if e.skip == 0 {
					return i + 1
				}
				e.state = inSkipped
			}
			continue
		}
		switch c {
		case '"':
			e.state = inString
		case '{', '[':
			e.skip++
		case '}', ']':
			if e.skip--; e.skip == 0 {
				e.state = afterValue
				return i + 1
			}
		}
	}
	return len(p)
}

// step reads a byte between values.
func (e *event) step(c byte) {
	switch e.state {
	case atValue:
		e.begin(c)
	case atName:
		switch c {
		case '"':
			e.n, e.long, e.name, e.state = 0, false, true, inText
		case '}':
			e.endObject()
		default:
			e.state = broken
		}
	case atColon:
		e.state = atValue
		if c != ':' {
			e.state = broken
		}
	case afterValue:
		switch c {
		case ',':
			e.state = atName
		case '}':
			e.endObject()
		default:
			e.state = broken
		}
	default: // more follows the event
		e.state = broken
	}
}

// begin begins a value.
func (e *event) begin(c byte) {
	e.n, e.long, e.name = 0, false, false
	switch {
	case e.depth == 0 && c != '{':
		e.state = broken
	case e.depth == 0:
		e.open(theEvent)
	case c == '{' && e.field == fieldResponse:
		e.open(theResponse)
	case c == '{' && e.field == fieldUsage:
		e.open(theUsage)
		e.usage = true
	case c == '{' && e.field == fieldDetails:
		e.open(theDetails)
	case c == '{' || c == '[':
		e.skip, e.state = 1, inSkipped
	case c == '"' && (e.field == fieldType || e.field == fieldModel):
		e.state = inText
	case c == '"':
		e.state = inString
	case e.field >= fieldInput:
		e.state = inNumber
		e.put(c)
	default:
		e.state = inLiteral
	}
}

func (e *event) open(o object) {
	e.path[e.depth] = o
	e.depth++
	e.state = atName
}

func (e *event) endObject() {
	e.depth--
	e.state = afterValue
	if e.depth == 0 {
		e.state = ended
	}
}

// readText reads a byte of a name or of a string that is looked at.
func (e *event) readText(c byte) {
	if c != '"' {
		if c == '\\' {
			e.state = inTextEsc
		}
		e.put(c)
		return
	}
	text, ok := e.unquote()
	switch {
	case e.name:
		e.field, e.state = noField, atColon
		if ok {
			e.field = fieldOf(e.path[e.depth-1], text)
		}
		return
	case e.field == fieldType:
		e.kind = other
		if ok {
			e.kind = kindOf(text)
		}
	case ok:
		e.used.Model = string(text)
	}
	e.state = afterValue
}

func (e *event) put(c byte) {
	if e.n == len(e.text) {
		e.long = true
		return
	}
	e.text[e.n] = c
	e.n++
}

// unquote returns the text of a string.
func (e *event) unquote() (text []byte, ok bool) {
	text = e.text[:e.n]
	if e.long {
		return nil, false
	}
	for _, c := range text {
		if c == '\\' || c < ' ' || c > '~' {
			var s string
			if json.Unmarshal([]byte(`"`+string(text)+`"`), &s) != nil {
				return nil, false
			}
			return []byte(s), true
		}
	}
	return text, true
}

// endLiteral ends a number, true, false or null.
func (e *event) endLiteral() {
	if e.state == inNumber && !e.long {
		if n, err := strconv.ParseUint(string(e.text[:e.n]), 10, 64); err == nil && n <= maxTokens {
			switch e.field {
			case fieldInput:
				e.used.Input = int64(n)
			case fieldOutput:
				e.used.Output = int64(n)
			case fieldCached:
				e.used.Cached = int64(n)
			}
		}
	}
	e.state = afterValue
}

// end ends the event, and readies e for another. It returns what a response used if
// the event says so.
func (e *event) end() (Tokens, bool) {
	used, ok := e.used, e.state == ended && e.usage && e.kind == ends && !e.used.zero()
	e.state, e.depth, e.field, e.skip, e.kind, e.used, e.usage = atValue, 0, noField, 0, unknown, Tokens{}, false
	return used, ok
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
