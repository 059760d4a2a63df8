package proxy

import (
	"net/http"
	"sync"
	"time"
)

// stall gives up an HTTP/2 stream whose client lets nothing through on it for a
// time. The connection of such a client may be as alive as can be, so that the
// limit of [clientConn] does not find it out. All methods may be called on nil.
type stall struct {
	w     http.ResponseWriter
	after time.Duration
	timer *time.Timer

	mu    sync.Mutex
	began time.Time // the writing that is under way; zero: none is
}

// streamStall returns the stall of a request, nil over HTTP/1.
func streamStall(w http.ResponseWriter, r *http.Request, after time.Duration) *stall {
	if r.ProtoMajor != 2 {
		return nil
	}
	return &stall{w: w, after: after}
}

// begin is called before the stream is written to.
func (s *stall) begin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(s.after, s.giveUp)
	} else {
		s.timer.Reset(s.after)
	}
}

// end is called when what was written is on its way. From then on the stream may
// be silent for as long as it likes.
func (s *stall) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Time{}
	s.timer.Stop()
}

// giveUp resets the stream, which ends the writing. The timer may have gone off
// for a writing that has ended meanwhile; and when the request has ended, so has
// the writer.
func (s *stall) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began.IsZero() && time.Since(s.began) >= s.after {
		_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
	}
}
