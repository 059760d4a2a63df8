package usage

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"testing"
)

// FuzzEvent compares what is read of an event with what encoding/json makes of it, and
// what is read in pieces with what is read at once.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"response.completed","response":{"model":"m","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2}}}`,
		`{"response":{"usage":{"input_tokens":3}},"type":"response\u002efailed","x":[{"a":"\\\""}],"y":-1.5e3}`,
		`{"type":"response.created","response":null}`,
		`{"a":[[[{}]]],"b":{"c":{"d":true}}}`,
	} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		var whole, pieces event
		whole.write(raw)
		got, ok := whole.end()
		size = max(1, size&0xff)
		for rest := raw; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			pieces.write(rest[:min(size, len(rest))])
		}
		if again, okAgain := pieces.end(); again != got || okAgain != ok {
			t.Fatalf("at once %+v, %v; in pieces %+v, %v", got, ok, again, okAgain)
		}
		if !json.Valid(raw) || duplicates(raw) {
			return
		}
		var want struct {
			Type     string
			Response struct {
				Model any
				Usage struct {
					Input   json.Number `json:"input_tokens"`
					Output  json.Number `json:"output_tokens"`
					Details struct {
						Cached json.Number `json:"cached_tokens"`
					} `json:"input_tokens_details"`
				}
			}
		}
		if json.Unmarshal(raw, &want) != nil {
			return // a type that encoding/json minds
		}
		number := func(n json.Number) int64 {
			if i, err := n.Int64(); err == nil && i >= 0 && i <= maxTokens && n != "-0" {
				return i
			}
			return 0
		}
		model, _ := want.Response.Model.(string)
		if len(model) > maxText/6 { // it may have been written longer
			model = got.Model
		}
		used := Tokens{model, number(want.Response.Usage.Input), number(want.Response.Usage.Details.Cached), number(want.Response.Usage.Output)}
		if kindOf([]byte(want.Type)) != ends || used.zero() {
			used = Tokens{}
		}
		if ok != (used != Tokens{}) || ok && got != used {
			t.Fatalf("read %+v, %v; want %+v", got, ok, used)
		}
	})
}

// duplicates reports whether a name may stand twice in an object, or be spelled in
// another case, which encoding/json takes for the same.
func duplicates(raw []byte) bool {
	lower := bytes.ToLower(raw)
	for _, name := range []string{"type", "response", "usage", "model", "input_tokens", "output_tokens", "cached_tokens"} {
		if n := bytes.Count(lower, []byte(`"`+name)); n > 1 || n != bytes.Count(raw, []byte(`"`+name)) {
			return true
		}
	}
	return bytes.ContainsAny(raw, `\`) || !isASCII(raw)
}

func isASCII(raw []byte) bool {
	for _, c := range raw {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// FuzzSSE compares what is read in pieces with what is read at once.
func FuzzSSE(f *testing.F) {
	f.Add([]byte("\xef\xbb\xbfevent: response.completed\r\ndata: {\"type\":\"response.completed\",\r\ndata:\"response\":{\"usage\":{\"input_tokens\":3}}}\r\n\r\n"), 3)
	f.Add([]byte("data: {\"type\":\"response.completed\"}\r\rdata\n:\n\n"), 1)
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		read := func(size int) (got []Tokens) {
			s := NewSSE(func(u Tokens) { got = append(got, u) }, nil)
			for rest := raw; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				s.Tap(rest[:min(size, len(rest))])
			}
			return got
		}
		compare(t, read(len(raw)+1), read(max(1, size&0xff)))
	})
}

// FuzzWebSocket compares what is read in pieces with what is read at once.
func FuzzWebSocket(f *testing.F) {
	const event = `{"type":"response.completed","response":{"usage":{"input_tokens":3}}}`
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	z.Write([]byte(event))
	z.Flush()
	packed := bytes.TrimSuffix(b.Bytes(), deflateTail)
	f.Add(append([]byte{0x81, byte(len(event))}, event...), 3, uint8(0))
	f.Add(append([]byte{0x89, 0, 0xc1, byte(len(packed))}, packed...), 1, uint8(1))
	f.Add(append([]byte{0x41, 0, 0x8a, 1, 7, 0x80, byte(len(packed))}, packed...), 5, uint8(2))
	f.Fuzz(func(t *testing.T, raw []byte, size int, mode uint8) {
		extensions := []string{"", "permessage-deflate", "permessage-deflate; server_no_context_takeover"}[mode%3]
		read := func(size int) (got []Tokens) {
			w := NewWebSocket([]string{extensions}, func(u Tokens) { got = append(got, u) }, nil)
			defer w.Close()
			for rest := raw; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				w.Tap(rest[:min(size, len(rest))])
			}
			return got
		}
		compare(t, read(len(raw)+1), read(max(1, size&0xff)))
	})
}

func compare(t *testing.T, whole, pieces []Tokens) {
	t.Helper()
	if len(whole) != len(pieces) {
		t.Fatalf("at once %+v, in pieces %+v", whole, pieces)
	}
	for i := range whole {
		if whole[i] != pieces[i] {
			t.Fatalf("at once %+v, in pieces %+v", whole, pieces)
		}
	}
}
