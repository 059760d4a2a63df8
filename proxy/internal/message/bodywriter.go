package message

import (
	"io"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// headerDelay is how long the header of a response waits for the first bytes of the
// body, so that both are sent in one piece.
const headerDelay = time.Millisecond

// FlushWriter is what a response is written to.
type FlushWriter interface {
	io.Writer
	FlushError() error
	// Panicked is told that FlushError has panicked on a goroutine of the BodyWriter.
	Panicked(*contain.PanicError)
}

// BodyWriter writes the body of a response. It sends the header first if the body is
// late, and the last of the body if the end of the response is late.
type BodyWriter struct {
	to    FlushWriter
	mu    sync.Mutex
	timer *time.Timer // flushes what is late; nil: nothing is
	begun bool        // what may be late is sent, or will be with what comes
	err   error       // of a panic, after which nothing is written
}

// NewBodyWriter returns a writer to a client that has not been sent the header yet.
// buffered says that the first write will not wait. [BodyWriter.Stop] must be called.
func NewBodyWriter(to FlushWriter, buffered bool) *BodyWriter {
	w := &BodyWriter{to: to}
	if !buffered {
		w.timer = time.AfterFunc(headerDelay, w.flushLate)
	}
	return w
}

func (w *BodyWriter) flushLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.begun = true
		_, w.err = contain.Call(w.to.Panicked, func() (any, error) {
			_ = w.to.FlushError()
			return nil, nil
		})
	}
}

// Write writes b, and flushes it at once or a little later.
func (w *BodyWriter) Write(b []byte, flush, flushLate bool) error {
	if err := w.Stop(); err != nil {
		return err
	}
	if _, err := w.to.Write(b); err != nil {
		return err
	}
	if flush {
		return w.to.FlushError()
	}
	if !flushLate {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.timer = false, time.AfterFunc(headerDelay, w.flushLate)
	return nil
}

// Stop stops the timer. No other goroutine writes when it returns. It returns an error if a part
// of what was written may be lost.
func (w *BodyWriter) Stop() error {
	if w.timer == nil {
		return w.err
	}
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.timer = true, nil
	return w.err
}
