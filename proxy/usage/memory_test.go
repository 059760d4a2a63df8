package usage

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// reader is what a response's bytes are shown to.
type reader interface {
	Tap([]byte)
	Close()
}

// TestMemory: a reader of any kind holds less than 64 kB wherever it is.
func TestMemory(t *testing.T) {
	const readers = 200
	r := rand.New(rand.NewPCG(1, 2))
	w := &wire{r: r, mode: "takeover"}
	var events []string
	for range 50 {
		for _, event := range newTurn(r).events {
			w.message(opText, []byte(event))
			events = append(events, "data: "+event+"\n\n")
		}
	}
	frames, text := w.out.Bytes(), []byte(events[0])
	for _, event := range events[1:] {
		text = append(text, event...)
	}
	compressed := gzipped(t, gzip.Header{}, events...)
	large := gzip.Header{Extra: bytes.Repeat([]byte("x"), 1<<16-1)}
	incompressible := make([]byte, 1<<20)
	for i := range incompressible {
		incompressible[i] = byte(r.Uint32())
	}
	webSocket := func() reader { return NewWebSocket([]string{"permessage-deflate"}, func(Tokens) {}, nil) }
	unzip := func() reader { return NewGzip(func(Tokens) {}, nil) }
	for name, test := range map[string]struct {
		open func() reader
		raw  []byte // what has come so far
	}{
		"WebSocket":                 {webSocket, frames[:len(frames)-10]},
		"events":                    {func() reader { return NewSSE(func(Tokens) {}, nil) }, text[:len(text)-10]},
		"gzip":                      {unzip, compressed[:len(compressed)-20]},
		"gzip of what is not small": {unzip, gzipped(t, gzip.Header{}, string(incompressible))[:len(incompressible)-10]},
		"a large header of gzip":    {unzip, gzipped(t, large, "x")[:1<<16]},
		"what follows it":           {unzip, gzipped(t, large, events...)[:70_000]},
	} {
		t.Run(name, func(t *testing.T) {
			used := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc + m.StackInuse
			}
			begun, before := runtime.NumGoroutine(), used()
			var all [readers]reader
			for i := range all {
				all[i] = test.open()
				for piece := range slices.Chunk(test.raw, queueSize/4) { // both buffers of the queue are used
					all[i].Tap(piece)
				}
			}
			after := used()
			each := (max(after, before) - before) / readers
			t.Logf("%d bytes each", each)
			if each >= 64<<10 {
				t.Errorf("a reader holds %d bytes", each)
			}
			for _, reader := range all {
				reader.Close()
			}
			// Timers may be about to find that they were stopped.
			for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > begun; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d goroutines, and before there were %d", runtime.NumGoroutine(), begun)
				}
			}
		})
	}
}
