package strictjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// TestDecode reads documents with one fault each. No error shows a value.
func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, raw, want string
		offset          int
	}{
		{"good", `{"s":"secret","b":true,"t":"2026-01-02T03:04:05Z","n":1,"o":{"s":"x"}}`, "", 0},
		{"absent", `{"s":null,"b":null,"t":"","n":null,"o":null}`, "doc.s: missing", 5},
		{"empty", " ", "doc: empty", 0},
		{"binary", "{\"s\":\"\xff\"}", "doc: not text", 0},
		{"half", `{"s":"sec`, "doc: ends in the middle", 9},
		{"more", `{"s":"secret"} {}`, "doc: more follows the JSON value", 14},
		{"no object", `["secret"]`, "doc: expected object", 0},
		{"null", `null`, "doc: expected object", 0},
		{"twice", `{"s":"secret","s":"other"}`, `doc: field "s" appears twice`, 0},
		{"another case", `{"S":"secret"}`, "doc.s: missing", 0},
		{"number", `{"s":"x","n":"secret"}`, "doc.n: expected seconds since 1970", 13},
		{"time", `{"s":"x","t":"secret"}`, "doc.t: expected RFC 3339 time", 13},
		{"bool", `{"s":"x","b":"secret"}`, "doc.b: expected true or false", 13},
		{"text", `{"s":["secret"]}`, "doc.s: expected string", 5},
		{"within", `{"s":"x","o":{"s":1}}`, "doc.o.s: expected string", 18},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d strictjson.Decoder
			o := d.Document("doc", []byte(tt.raw))
			o.Required("s")
			o.Bool("b")
			o.Time("t")
			o.Seconds("n")
			o.Object("o").Text("s")
			if tt.want == "" {
				if d.Err != nil {
					t.Error(d.Err)
				}
				return
			}
			e, ok := errors.AsType[*strictjson.Error](d.Err)
			if !ok || e.Error() != tt.want || e.Offset != tt.offset || strings.Contains(e.Error(), "secret") {
				t.Errorf("error %v at %d, want %s at %d", d.Err, e.Offset, tt.want, tt.offset)
			}
		})
	}
}

// TestEdit keeps what is not set to the letter.
func TestEdit(t *testing.T) {
	o, err := strictjson.ParseEdit([]byte(`{"a": 1.50, "\ud800":  "\u003c" , "b":null}`))
	if err != nil {
		t.Fatal(err)
	}
	o.Set("b", []byte("true"))
	o.SetText("new \"name\"", "\u2028")
	const want = `{"a":1.50,"\ud800":"\u003c","b":true,"new \"name\"":"` + "\u2028" + `"}`
	if got := string(o.Compact()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(o.Get("a")); got != "1.50" {
		t.Error(got)
	}
	if got := o.Get("c"); got != nil {
		t.Errorf("%s", got)
	}
	for _, raw := range []string{"", "[]", "{", `{"a"`, `{"a":1,}`, `{"a":}`} {
		if _, err := strictjson.ParseEdit([]byte(raw)); err == nil {
			t.Errorf("%q was opened", raw)
		}
	}
}
