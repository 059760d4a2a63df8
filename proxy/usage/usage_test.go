package usage

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// turn is what a server sends for one response: its events, and what they say was
// used.
type turn struct {
	events []string
	used   Tokens
}

// object is JSON text whose members stand in an order of their own.
func members(r *rand.Rand, all ...string) string {
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return "{" + strings.Join(all, []string{",", ", ", " ,\t"}[r.IntN(3)]) + "}"
}

// noise is what a model may say, and what looks like an event and is none.
func noise(r *rand.Rand, n int) string {
	const words = `lorem "ipsum" \ {"type":"response.completed","response":{"usage":{"input_tokens":7}}} ]}[{ äöü 😀 ` + "\n\r\t\u0000"
	var b strings.Builder
	for b.Len() < n {
		i := r.IntN(len(words))
		b.WriteString(strings.ToValidUTF8(words[i:min(len(words), i+r.IntN(40))], "?"))
	}
	text, err := json.Marshal(b.String())
	if err != nil {
		panic(err)
	}
	return string(text)
}

// newTurn returns a turn whose last event may be larger than what a reader may hold.
func newTurn(r *rand.Rand) turn {
	used := Tokens{fmt.Sprintf("gpt-%d-ünïcode", r.IntN(10)), 1 + r.Int64N(400_000), r.Int64N(1000), r.Int64N(100_000)}
	size := 200
	if r.IntN(200) == 0 {
		size = 100 << 10
	}
	t := turn{used: used}
	t.events = append(t.events, members(r, `"type":"response.created"`, `"response":`+members(r, `"id":"x"`, `"model":"early"`, `"usage":null`)))
	for range r.IntN(5) {
		t.events = append(t.events, members(r, `"type":"response.output_text.delta"`, `"delta":`+noise(r, 40), `"n":-1.5e3`))
	}
	usage := members(r,
		fmt.Sprintf(`"input_tokens":%d`, used.Input), fmt.Sprintf(`"output_tokens" : %d`, used.Output),
		`"input_tokens_details":`+members(r, fmt.Sprintf(`"cached_tokens":%d `, used.Cached), `"audio":null`),
		`"output_tokens_details":{"reasoning_tokens":5,"cached_tokens":99}`, `"total_tokens":1`)
	model, _ := json.Marshal(used.Model)
	response := members(r, `"id":"resp"`, `"model":`+string(model), `"usage":`+usage, `"output":[{"usage":{"input_tokens":9},"text":`+noise(r, size)+`}]`,
		`"metadata":{"model":"no","usage":{"input_tokens":1}}`, `"t":true`, `"n":null`)
	kind := []string{"response.completed", "response.completed", "response.incomplete", "response.failed"}[r.IntN(4)]
	t.events = append(t.events, members(r, `"type":"`+kind+`"`, `"sequence_number":9`, `"response":`+response))
	return t
}

// tap gives raw to a reader in pieces of all sizes.
func tap(r *rand.Rand, raw []byte, to func([]byte)) {
	for len(raw) > 0 {
		n := 1 + r.IntN(3)
		if r.IntN(3) > 0 {
			n = 1 + r.IntN(20_000)
		}
		piece := bytes.Clone(raw[:min(n, len(raw))])
		to(piece)
		clear(piece) // which a reader must not keep
		raw = raw[min(n, len(raw)):]
	}
}

func newRand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// check compares what a reader reported with what was sent.
func check(t *testing.T, got []Tokens, turns []turn) {
	t.Helper()
	if len(got) != len(turns) {
		t.Fatalf("%d responses were reported, %d were sent", len(got), len(turns))
	}
	for i := range turns {
		if got[i] != turns[i].used {
			t.Fatalf("response %d: reported %+v, sent %+v", i, got[i], turns[i].used)
		}
	}
}

func TestSSETurns(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r\n", "\r"} {
		r := newRand(t)
		var stream strings.Builder
		var turns []turn
		stream.WriteString("\xef\xbb\xbf: a comment" + end)
		for range manyTurns {
			turn := newTurn(r)
			turns = append(turns, turn)
			for _, event := range turn.events {
				if r.IntN(2) == 0 {
					var kind struct{ Type string }
					if err := json.Unmarshal([]byte(event), &kind); err != nil {
						t.Fatal(err)
					}
					fmt.Fprintf(&stream, "event: %s%s", kind.Type, end)
				}
				if cut := strings.Index(event, ","); cut > 0 && strings.Count(event[:cut], `"`)%2 == 0 && r.IntN(2) == 0 {
					stream.WriteString("data:" + event[:cut] + end + "id: 7" + end)
					event = event[cut:]
				}
				stream.WriteString("data: " + event + end + end)
			}
		}
		var got []Tokens
		s := NewSSE(func(u Tokens) { got = append(got, u) }, nil)
		tap(r, []byte(stream.String()), s.Tap)
		s.Close()
		check(t, got, turns)
	}
}

// wire makes frames of a server.
type wire struct {
	r     *rand.Rand
	out   bytes.Buffer
	mode  string // "", takeover, fresh
	z     *flate.Writer
	plain bytes.Buffer // what z has written
}

func (w *wire) frame(first byte, payload []byte) {
	w.out.WriteByte(first)
	switch n := len(payload); {
	case n < 126:
		w.out.WriteByte(byte(n))
	case n < 1<<16:
		w.out.WriteByte(126)
		w.out.Write(binary.BigEndian.AppendUint16(nil, uint16(n)))
	default:
		w.out.WriteByte(127)
		w.out.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	w.out.Write(payload)
}

// message sends a message, in fragments between which there may be control frames.
func (w *wire) message(opcode byte, text []byte) {
	payload, first := text, opcode
	if w.mode != "" && w.r.IntN(8) > 0 { // a message may be sent as it is, too
		if w.z == nil || w.mode == "fresh" {
			w.z, _ = flate.NewWriter(&w.plain, 1+w.r.IntN(9))
		}
		w.plain.Reset()
		for len(text) > 0 { // in several blocks
			n := min(len(text), 1+w.r.IntN(8000))
			w.z.Write(text[:n])
			text = text[n:]
			if w.r.IntN(4) == 0 {
				w.z.Flush()
			}
		}
		w.z.Flush()
		payload, first = bytes.TrimSuffix(w.plain.Bytes(), deflateTail), opcode|0x40
	}
	for {
		n := len(payload)
		if w.r.IntN(2) == 0 {
			n = w.r.IntN(n + 1)
		}
		last := n == len(payload) && w.r.IntN(4) > 0
		if last {
			first |= 0x80
		}
		w.frame(first, payload[:n])
		if last {
			return
		}
		payload, first = payload[n:], opContinuation
		for range w.r.IntN(3) {
			w.frame(0x80|8+1+byte(w.r.IntN(2)), bytes.Repeat([]byte{'"'}, w.r.IntN(126)))
		}
	}
}

func TestWebSocketTurns(t *testing.T) {
	t.Parallel()
	for mode, extensions := range map[string][]string{
		"":         nil,
		"takeover": {"permessage-deflate; client_no_context_takeover"},
		"fresh":    {" Permessage-Deflate ; server_max_window_bits=15;SERVER_no_context_takeover"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := &wire{r: newRand(t), mode: mode}
			var turns []turn
			for range manyTurns {
				turn := newTurn(w.r)
				turns = append(turns, turn)
				for _, event := range turn.events {
					w.message(opText, []byte(event))
					if w.r.IntN(10) == 0 { // of which only the dictionary counts
						w.message(opBinary, []byte(event))
					}
				}
			}
			var got []Tokens
			reader := NewWebSocket(extensions, func(u Tokens) { got = append(got, u) }, nil)
			tap(w.r, w.out.Bytes(), reader.Tap)
			reader.Close()
			check(t, got, turns)
		})
	}
}

// tappedConn is a connection whose client reads are tapped behind the handshake.
type tappedConn struct {
	net.Conn
	head []byte
	tap  func([]byte)
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	b := p[:n]
	if c.head != nil {
		c.head = append(c.head, b...)
		_, rest, ok := bytes.Cut(c.head, []byte("\r\n\r\n"))
		if !ok {
			return n, err
		}
		b, c.head = rest, nil
	}
	c.tap(b)
	return n, err
}

// TestWebSocketOfAnother reads what another implementation sends.
func TestWebSocketOfAnother(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	var turns []turn
	for range manyTurns / 5 {
		turns = append(turns, newTurn(r))
	}
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 100})
			if err != nil {
				return
			}
			for _, turn := range turns {
				for _, event := range turn.events {
					if c.Write(r.Context(), websocket.MessageText, []byte(event)) != nil {
						return
					}
				}
			}
			c.Close(websocket.StatusNormalClosure, "")
		}))
		conn := &tappedConn{head: []byte{}}
		var pending []byte
		conn.tap = func(p []byte) { pending = append(pending, p...) }
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var err error
			conn.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return conn, err
		}}}
		c, resp, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{HTTPClient: client, CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		if negotiated := resp.Header.Get("Sec-WebSocket-Extensions") != ""; negotiated != (mode != websocket.CompressionDisabled) {
			t.Errorf("mode %v: extensions %q", mode, resp.Header["Sec-Websocket-Extensions"])
		}
		c.SetReadLimit(-1)
		for {
			if _, _, err := c.Read(t.Context()); err != nil {
				break
			}
		}
		server.Close()
		var got []Tokens
		reader := NewWebSocket(resp.Header.Values("Sec-WebSocket-Extensions"), func(u Tokens) { got = append(got, u) }, nil)
		tap(r, pending, reader.Tap)
		reader.Close()
		check(t, got, turns)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2}`
	want := Tokens{"m", 3, 1, 2}
	for text, want := range map[string]Tokens{
		`{"type":"response.completed","response":{"model":"m",` + usage + `}}`:                                 want,
		" \n{ \"response\" : {" + usage + `,"model":"m"} , "type" : "response.completed" } `:                   want,
		`{"\u0074ype":"response\u002ecompleted","response":{"model":"\u006d",` + usage + `}}`:                  want,
		`{"type":"response.completed","response":{` + usage + `}}`:                                             {"", 3, 1, 2},
		`{"type":"response.completed","response":{"model":7,` + usage + `}}`:                                   {"", 3, 1, 2},
		`{"type":"response.completed","response":{"model":"` + strings.Repeat("m", 500) + `",` + usage + `}}`:  {"", 3, 1, 2},
		`{"type":"response.completed","response":{"usage":{"input_tokens":3}}}`:                                {"", 3, 0, 0},
		`{"type":"response.completed","response":{"usage":{"input_tokens":-3,"output_tokens":1e3}}}`:           {},
		`{"type":"response.completed","response":{"usage":{"input_tokens":99999999999999,"output_tokens":1}}}`: {"", 0, 0, 1},
		`{"type":"response.completed","response":{"usage":{"input_tokens":0,"output_tokens":0}}}`:              {},
		`{"type":"response.completed","response":{"usage":null}}`:                                              {},
		`{"type":"response.completed","response":[{"usage":{"input_tokens":3}}]}`:                              {},
		`{"type":"response.completed","x":{"response":{` + usage + `}}}`:                                       {},
		`{"type":"response.created","response":{` + usage + `}}`:                                               {},
		`{"response":{` + usage + `}}`:                                                                         {},
		`{"type":"response.completed","response":{` + usage + `}`:                                              {},
		`{"type":"response.completed","response":{` + usage + `}}x`:                                            {},
		`{"type":"response.completed","response":{` + usage + `}]`:                                             {},
		`[{"type":"response.completed","response":{` + usage + `}}]`:                                           {},
		`{"type":"response.completed","response":{"a":"\\","b":"\"",` + usage + `}}`:                           {"", 3, 1, 2},
		`{"type":"response.completed","response":{"a":{"b":["}\\"]},` + usage + `}}`:                           {"", 3, 1, 2},
		`{"type":"response.completed","response":{"` + strings.Repeat("k", 500) + `":1}}`:                      {},
		`{"type":"` + strings.Repeat("response.completed", 50) + `","response":{` + usage + `}}`:               {},
		``: {}, `null`: {}, `7`: {}, `"`: {}, `{`: {}, `{"a" 1}`: {}, `{1:2}`: {}, `{"a":1 "b":2}`: {},
	} {
		for size := range 4 {
			var e event
			e.write([]byte("{{{"))
			e.end() // what was broken before does not matter
			if size == 0 {
				e.write([]byte(text))
			} else {
				for i := 0; i < len(text); i += size {
					e.write([]byte(text[i:min(i+size, len(text))]))
				}
			}
			got, ok := e.end()
			if ok != (want != Tokens{}) || ok && got != want {
				t.Errorf("%s in pieces of %d: %+v, %v, want %+v", text, size, got, ok, want)
			}
		}
	}
}

// TestWebSocketRules: what breaks the rules of the protocol is read no further.
func TestWebSocketRules(t *testing.T) {
	t.Parallel()
	const event = `{"type":"response.completed","response":{"usage":{"input_tokens":3}}}`
	good := func(w *wire) { w.frame(0x81, []byte(event)) }
	for name, test := range map[string]struct {
		extensions []string
		send       func(w *wire)
		want       int
	}{
		"a text":                          {nil, good, 1},
		"a masked frame":                  {nil, func(w *wire) { w.out.Write([]byte{0x81, 0x80}); good(w) }, 0},
		"a reserved bit":                  {nil, func(w *wire) { w.frame(0xa1, nil); good(w) }, 0},
		"compressed without agreement":    {nil, func(w *wire) { w.frame(0xc1, nil); good(w) }, 0},
		"a fragmented ping":               {nil, func(w *wire) { w.frame(0x09, nil); good(w) }, 0},
		"a continuation of nothing":       {nil, func(w *wire) { w.frame(0x80, nil); good(w) }, 0},
		"a message within another":        {nil, func(w *wire) { w.frame(0x01, nil); good(w) }, 0},
		"an unknown opcode":               {nil, func(w *wire) { w.frame(0x83, nil); good(w) }, 0},
		"a length beyond 63 bits":         {nil, func(w *wire) { w.out.Write([]byte{0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}); good(w) }, 0},
		"an extension that is not known":  {[]string{"x-turn-around"}, good, 0},
		"what does not decompress":        {[]string{"permessage-deflate"}, func(w *wire) { w.frame(0xc1, []byte("\xff\xff\xff")); good(w) }, 0},
		"binary":                          {nil, func(w *wire) { w.frame(0x82, []byte(event)); good(w) }, 1},
		"an event cut by a message's end": {nil, func(w *wire) { w.frame(0x81, []byte(event[:20])); w.frame(0x81, []byte(event[20:])); good(w) }, 1},
		// RFC 7692, section 7.2.3.4: a stream that ends within the connection.
		"a final block": {[]string{"permessage-deflate"}, func(w *wire) {
			for range 2 {
				var b bytes.Buffer
				z, _ := flate.NewWriter(&b, 9)
				z.Write([]byte(event))
				z.Close()
				w.frame(0xc1, append(b.Bytes(), 0))
			}
		}, 2},
		"a bomb": {[]string{"permessage-deflate"}, func(w *wire) {
			var b bytes.Buffer
			z, _ := flate.NewWriter(&b, flate.BestSpeed)
			z.Write(make([]byte, maxMessage+1))
			z.Flush()
			w.frame(0xc1, b.Bytes())
			good(w)
		}, 0},
	} {
		w, n := new(wire), 0
		test.send(w)
		reader := NewWebSocket(test.extensions, func(Tokens) { n++ }, nil)
		reader.Tap(w.out.Bytes())
		reader.Close()
		reader.Close()
		reader.Tap(w.out.Bytes()) // which does nothing any more
		if n != test.want {
			t.Errorf("%s: %d responses, want %d", name, n, test.want)
		}
	}
}

func TestParseQuota(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		header string
		want   Quota
		ok     bool
	}{
		{"", Quota{}, false},
		{"x-codex-primary-used-percent: 12\nx-codex-primary-window-minutes: 300\nx-codex-primary-reset-at: 1796000000", Quota{Primary: window(12, 300, 1796000000)}, true},
		{"x-codex-secondary-used-percent: 100.5\nx-codex-credits-has-credits: True", Quota{Secondary: window(100.5, 0, 0), Credits: true}, true},
		{"x-codex-primary-used-percent: 0\nx-codex-primary-window-minutes: -1\nx-codex-primary-reset-at: soon\nx-codex-credits-unlimited: 1", Quota{Primary: window(0, 0, 0), Credits: true}, true},
		{"x-codex-primary-used-percent: NaN\nx-codex-secondary-used-percent: 1e9", Quota{}, false},
		{"x-codex-primary-used-percent: -1\nx-codex-secondary-used-percent: x", Quota{}, false},
		{"x-codex-primary-used-percent: 1\nx-codex-primary-window-minutes: 99999999\nx-codex-primary-reset-at: 99999999999999", Quota{Primary: window(1, 0, 0)}, true},
	} {
		h := make(http.Header)
		for line := range strings.Lines(test.header) {
			name, value, _ := strings.Cut(line, ":")
			h.Set(name, strings.TrimSpace(value))
		}
		if got, ok := ParseQuota(h); ok != test.ok || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %+v, %v", test.header, got, ok)
		}
	}
	if q := (Quota{Primary: window(100, 1, 2), Secondary: window(99.9, 1, 2)}); len(q.UsedUp()) != 1 || q.UsedUp()[0].UsedPercent != 100 {
		t.Errorf("used up: %+v", q.UsedUp())
	}
}
func TestParseReport(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]Quota{
		`{"rate_limit":{"primary_window":{"used_percent":12.5,"limit_window_seconds":18000,"reset_at":1796000000},"secondary_window":null},"credits":{"unlimited":true}}`: {Primary: window(12.5, 300, 1796000000), Credits: true},
		`{"rate_limit":{"secondary_window":{"used_percent":0,"limit_window_seconds":-1,"reset_at":-1}}}`:                                                                  {Secondary: window(0, 0, 0)},
		`{"rate_limit":{"primary_window":{"limit_window_seconds":18000}}}`:                                                                                                {},
		`{"rate_limit":{"primary_window":{"used_percent":-1},"secondary_window":{"used_percent":1e9}}}`:                                                                   {},
		`{"rate_limit":7}`: {}, `{}`: {}, `no`: {},
	} {
		if got, ok := ParseReport([]byte(raw)); ok != (want.Primary != nil || want.Secondary != nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", raw, got, ok)
		}
	}
}

func window(percent float64, minutes int, reset int64) *Window {
	w := &Window{UsedPercent: percent, Length: time.Duration(minutes) * time.Minute}
	if reset > 0 {
		w.ResetAt = time.Unix(reset, 0).UTC()
	}
	return w
}
