package usage

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// gzipped returns text compressed, flushed after each piece.
func gzipped(t testing.TB, header gzip.Header, pieces ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Header = header
	for _, piece := range pieces {
		if _, err := io.WriteString(z, piece); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const gzipEvent = `data: {"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":2}}}` + "\n\n"

// TestGzipTurns reads turns that are compressed, and flushed anywhere.
func TestGzipTurns(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	var pieces []string
	var turns []turn
	for range manyTurns / 5 { // which stays below maxMessage
		turn := newTurn(r)
		turns = append(turns, turn)
		for _, event := range turn.events {
			pieces = append(pieces, "data: "+event+"\n\n")
		}
	}
	var got []Tokens
	g := NewGzip(func(u Tokens) { got = append(got, u) }, nil)
	tap(r, gzipped(t, gzip.Header{}, pieces...), g.Tap)
	g.Close()
	check(t, got, turns)
}

// TestGzip reads what is cut off, broken, too much, or no gzip at all as far as it goes, and ends
// quietly.
func TestGzip(t *testing.T) {
	t.Parallel()
	whole := gzipped(t, gzip.Header{}, gzipEvent, gzipEvent)
	large := gzip.Header{Name: "name", Comment: "comment", Extra: bytes.Repeat([]byte("x"), 60_000)}
	spoilt := bytes.Clone(whole)
	spoilt[len(spoilt)-1] ^= 1
	withSum := append([]byte{0x1f, 0x8b, 8, 1<<1 | 1<<3, 0, 0, 0, 0, 0, 255, 'n', 0, 0xab, 0xcd}, whole[10:]...)
	const most = 1 << 20 // in place of maxMessage, which takes long
	bomb := strings.Repeat(":"+strings.Repeat("0", 1<<10)+"\n", most>>10)
	for name, test := range map[string]struct {
		raw  []byte
		want int
	}{
		"whole":          {whole, 2},
		"nothing":        {nil, 0},
		"no gzip":        {[]byte(gzipEvent), 0},
		"a large header": {gzipped(t, large, gzipEvent), 1},
		"a sum of it":    {withSum, 2}, // which is not looked at
		"half a header":  {gzipped(t, large, gzipEvent)[:60_000], 0},
		"no such method": {append([]byte{0x1f, 0x8b, 7}, whole[3:]...), 0},
		"cut off":        {whole[:len(whole)-12], 2}, // before the last block
		"no header":      {whole[:9], 0},
		"a wrong sum":    {spoilt, 2},
		"two members":    {append(bytes.Clone(whole), whole...), 2},
		"nearly a bomb":  {gzipped(t, gzip.Header{}, bomb[:most-len(gzipEvent)-1]+"\n"+gzipEvent), 1},
		"a bomb":         {gzipped(t, gzip.Header{}, gzipEvent, bomb, gzipEvent), 1},
	} {
		for _, size := range []int{1, 1000, len(test.raw) + 1} {
			n := 0
			g := NewGzip(func(Tokens) { n++ }, func(e *contain.PanicError) { t.Errorf("%s: %s\n%s", name, e, e.Stack()) })
			if g.inflate.remaining != maxMessage {
				t.Error("it has another limit")
			}
			g.inflate.remaining = most
			for rest := test.raw; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				g.Tap(rest[:min(size, len(rest))])
			}
			g.Close()
			g.Tap(test.raw)
			if n != test.want {
				t.Errorf("%s, %d bytes at a time: %d responses, want %d", name, size, n, test.want)
			}
		}
	}
}

// FuzzGzip compares what is read in pieces with what is read at once, of what is compressed
// and of what came so, and with what SSE reads of the text.
func FuzzGzip(f *testing.F) {
	f.Add([]byte(gzipEvent), 3, true)
	f.Add(gzipped(f, gzip.Header{Extra: []byte("x")}, gzipEvent, "x"), 1, false)
	f.Fuzz(func(t *testing.T, raw []byte, size int, compress bool) {
		panicked := func(e *contain.PanicError) { t.Errorf("%s\n%s", e, e.Stack()) }
		text := raw
		if compress {
			raw = gzipped(t, gzip.Header{}, string(raw[:len(raw)/2]), string(raw[len(raw)/2:]))
		}
		read := func(size int) (got []Tokens) {
			g := NewGzip(func(u Tokens) { got = append(got, u) }, panicked)
			defer g.Close()
			for rest := raw; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				g.Tap(rest[:min(size, len(rest))])
			}
			g.Close()
			return got
		}
		whole := read(len(raw) + 1)
		compare(t, whole, read(max(1, size&0xff)))
		if compress {
			var got []Tokens
			NewSSE(func(u Tokens) { got = append(got, u) }, panicked).Tap(text)
			compare(t, whole, got)
		}
	})
}
