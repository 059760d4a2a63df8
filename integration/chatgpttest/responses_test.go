package chatgpttest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"
)

const turn = `{"model":"m","input":[],"stream":true}`

// text joins the deltas of an answer, and checks that it is complete.
func text(t *testing.T, events []event) string {
	t.Helper()
	var b strings.Builder
	n := 0
	for _, e := range events {
		if isDelta(e) {
			b.WriteString(e["delta"].(string))
			n++
		}
	}
	first, last := events[0]["type"], events[len(events)-1]["type"]
	if first != "response.created" || last != "response.completed" || n != 0 && n != deltas {
		t.Errorf("%v to %v with %d deltas", first, last, n)
	}
	return b.String()
}

func TestResponsesSSE(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	zw, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for encoding, body := range map[string][]byte{"identity": []byte(turn), "zstd": zw.EncodeAll([]byte(turn), nil)} {
		resp := do(t, s, "POST", backend+"/codex/responses", body, append(auth, "Content-Encoding", encoding)...)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %d %s", encoding, resp.StatusCode, resp.body)
		}
		var events []event
		for _, block := range strings.Split(strings.TrimSpace(string(resp.body)), "\n\n") {
			name, data, _ := strings.Cut(block, "\n")
			var e event
			if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &e); err != nil || name != "event: "+e["type"].(string) {
				t.Fatalf("%q: %v", block, err)
			}
			events = append(events, e)
		}
		if got := text(t, events); got != DefaultReply {
			t.Errorf("%s: %q", encoding, got)
		}
	}
	for name, header := range map[string][]string{
		turn:            {"Content-Encoding", "zstd"},
		turn + " ":      {"Content-Encoding", "br"},
		`{`:             nil,
		`{"x":1}`:       nil,
		`{"model":"m"}`: nil,
	} {
		if resp := do(t, s, "POST", backend+"/codex/responses", []byte(name), append(auth, header...)...); resp.StatusCode != 400 {
			t.Errorf("%q %v: %d", name, header, resp.StatusCode)
		}
	}
	if n := s.Stats().Responses; n != 2 {
		t.Errorf("Responses = %d", n)
	}
}

func TestResponsesWebSocket(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	s.SetReply("héllo, wörld – zwölf")
	conn := dial(t, s, backend+"/codex/responses", auth)
	ask := func(msg string) []event {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		var events []event
		for {
			_, b, err := conn.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var e event
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
			if e["type"] == "response.completed" || e["type"] == "error" {
				return events
			}
		}
	}
	if got := text(t, ask(`{"type":"response.create","generate":false,`+turn[1:])); got != "" {
		t.Errorf("prewarming: %q", got)
	}
	if got := text(t, ask(`{"type":"response.create",`+turn[1:])); got != "héllo, wörld – zwölf" {
		t.Errorf("answer: %q", got)
	}
	if e := ask(`{"type":"x"}`); e[0]["type"] != "error" {
		t.Errorf("%v", e)
	}
	if st := s.Stats(); st.Responses != 1 || st.WebSockets != 1 {
		t.Errorf("%+v", st)
	}
	if r := lastRequest(t, s); r.Status != 101 || r.Done || len(r.Messages) != 3 || !r.Auth.OK {
		t.Errorf("recorded %d, %d messages, %+v", r.Status, len(r.Messages), r.Auth)
	}
}

func TestSplit(t *testing.T) {
	for _, s := range []string{"", "a", "ab", "abcde", "abcdef", strings.Repeat("ü", 99)} {
		parts := split(s, 5)
		if strings.Join(parts, "") != s || len(parts) > 5 {
			t.Errorf("split(%q) = %q", s, parts)
		}
	}
}
