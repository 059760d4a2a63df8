package proxy

import (
	"net/http"
	"sync"
	"time"
)

// stall resets an HTTP/2 stream whose client lets nothing through on it for a time. The
// connection of such a client may work well, so that the limit of [netconn.StallConn] does
// not find it out. All methods may be called on nil.
type stall struct {
	w     http.ResponseWriter
	after time.Duration
	timer *time.Timer

	mu    sync.Mutex
	began time.Time // when the current writing began; zero: there is none
}

// streamStall returns the stall of a request, nil over HTTP/1.
func streamStall(w http.ResponseWriter, r *http.Request, after time.Duration) *stall {
	if r.ProtoMajor != 2 {
		return nil
	}
	return &stall{w: w, after: after}
}

// begin must be called before the stream is written to.
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

// end must be called after it. Between writings the stream may be silent for any time.
func (s *stall) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Time{}
	s.timer.Stop()
}

// giveUp resets the stream, which ends the writing. The timer may have fired for a writing
// that has ended meanwhile; when the request has ended, so has the writer.
func (s *stall) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began.IsZero() && time.Since(s.began) >= s.after {
		_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
	}
}
