package usage

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkTap is what an event costs: a delta of a model's text, as most events are.
func BenchmarkTap(b *testing.B) {
	const delta = `{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_0123456789abcdef0123456789abcdef","output_index":0,"content_index":0,"delta":" and","logprobs":[],"obfuscation":"0123456789"}`
	sse := fmt.Appendf(nil, "event: response.output_text.delta\ndata: %s\n\n", delta)
	plain := &wire{r: rand.New(rand.NewPCG(1, 2))}
	plain.frame(0x81, []byte(delta))
	packed := &wire{r: plain.r, mode: "takeover"}
	for range 64 {
		packed.message(opText, []byte(delta))
	}
	b.Run("sse", func(b *testing.B) {
		s := NewSSE(func(Tokens) {}, nil)
		b.ReportAllocs()
		for b.Loop() {
			s.Tap(sse)
		}
	})
	b.Run("websocket", func(b *testing.B) {
		w := NewWebSocket(nil, func(Tokens) {}, nil)
		defer w.Close()
		b.ReportAllocs()
		for b.Loop() {
			w.Tap(plain.out.Bytes())
		}
	})
	b.Run("deflate64", func(b *testing.B) {
		w := NewWebSocket([]string{"permessage-deflate"}, func(Tokens) {}, nil)
		defer w.Close()
		b.ReportAllocs()
		for b.Loop() {
			w.Tap(packed.out.Bytes()) // 64 events
		}
	})
}
