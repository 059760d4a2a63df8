package message

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// brokenWriter is a client that panics when it is flushed.
type brokenWriter struct {
	io.Writer
	told int
}

// FlushError implements [FlushWriter].
func (*brokenWriter) FlushError() error { panic("no flush") }

// Panicked implements [FlushWriter].
func (w *brokenWriter) Panicked(*contain.PanicError) { w.told++ }

// TestPanicOfFlush has a flush panic on a timer's goroutine, when the body is late and when the
// end of the response is. Nothing is written after that.
func TestPanicOfFlush(t *testing.T) {
	t.Parallel()
	for _, begun := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var got strings.Builder
			to := &brokenWriter{Writer: &got}
			w := NewBodyWriter(to, begun)
			if begun {
				if err := w.Write(nil, false, true); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * headerDelay)
			if begun { // or nothing comes after it
				if err := w.Stop(); err == nil {
					t.Error("the end is as if all had been sent")
				}
			}
			err := w.Write([]byte("x"), false, false)
			if _, ok := errors.AsType[*contain.PanicError](err); !ok || to.told != 1 || got.Len() > 0 {
				t.Errorf("begun: %t: %v, told %d times, %q was written", begun, err, to.told, got.String())
			}
			if stopped := w.Stop(); stopped != err {
				t.Errorf("begun: %t: %v at the end", begun, stopped)
			}
		})
	}
}

// brokenBudget is a budget that panics.
type brokenBudget struct{}

// Take implements [Budget].
func (brokenBudget) Take(int64) bool { panic("no budget") }

// Give implements [Budget].
func (brokenBudget) Give(int64) {}

// TestPanicOfHolding has the holding of a body panic, as it may on the goroutine of a transport.
func TestPanicOfHolding(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://chatgpt.example/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	held := Hold(r, 100, brokenBudget{}, new(Buffers))
	defer held.Forget()
	_, err = r.Body.Read(make([]byte, 10))
	if _, ok := errors.AsType[*contain.PanicError](err); !ok {
		t.Error(err)
	}
	if err := r.Body.Close(); err != nil {
		t.Error(err)
	}
}
