package chatgpttest

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// A Fault is misbehaviour on demand. It applies to requests that match both Path
// and Match; where neither is set, to every request.
type Fault struct {
	Path  string                   // glob for the path; * stands for any characters, slashes included
	Match func(*http.Request) bool // must not read the body

	Times int // how many requests it applies to; 0 means until cleared

	// Delay passes before anything is answered. It ends with the request.
	Delay time.Duration

	// Reset breaks the connection (over HTTP/2, the stream) without an answer.
	Reset bool

	// Status, if set, is answered instead of what the endpoint would answer,
	// with Body (default: a JSON error) and Header.
	Status int
	Body   string
	Header http.Header // added also to the endpoint's own answer

	// Early answers Status before the request's body has been read.
	Early bool

	// DropAfter breaks the connection when that many bytes of the answer's body
	// (over a WebSocket, of its frames) have been sent.
	DropAfter int

	// BadSealedTask answers a task registration with an id sealed for another key.
	BadSealedTask bool

	// ClockOffset puts the server's clock ahead for the request.
	ClockOffset time.Duration
}

// injected is a fault that is in force. It is compared by address.
type injected struct {
	Fault
	left int // how often it still applies, if Times is set
}

// Inject puts a fault into force. Of several that match a request, the one
// injected first applies. Calling clear ends it.
func (s *Server) Inject(f Fault) (clear func()) {
	in := &injected{Fault: f, left: f.Times}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.faults = append(s.state.faults, in)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removeFault(in)
	}
}

// removeFault ends a fault. The caller holds s.mu.
func (s *Server) removeFault(in *injected) {
	for i, f := range s.state.faults {
		if f == in {
			s.state.faults = append(s.state.faults[:i:i], s.state.faults[i+1:]...)
			return
		}
	}
}

// takeFault returns the fault that applies to r, the zero Fault if none does.
func (s *Server) takeFault(r *http.Request) Fault {
	s.mu.Lock()
	faults := s.state.faults // never changed in place
	s.mu.Unlock()
	for _, in := range faults {
		// Match is the test's code and may call the server.
		if !in.matches(r) {
			continue
		}
		if s.useFault(in) {
			return in.Fault
		}
	}
	return Fault{}
}

// useFault takes one of the times that a fault applies.
func (s *Server) useFault(in *injected) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.Times == 0 {
		return true
	}
	if in.left == 0 {
		return false
	}
	in.left--
	if in.left == 0 {
		s.removeFault(in)
	}
	return true
}

func (f *Fault) matches(r *http.Request) bool {
	return (f.Path == "" || matchGlob(f.Path, rawPath(r))) && (f.Match == nil || f.Match(r))
}

// matchGlob reports whether s matches pattern, in which * stands for any
// characters.
func matchGlob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		if matchGlob(rest, s) {
			return true
		}
		if s == "" {
			return false
		}
		s = s[1:]
	}
}

// misbehave does what a fault asks for before the endpoint is reached. It
// reports whether that was the whole answer.
func (s *Server) misbehave(w *responseWriter, r *http.Request, f Fault) bool {
	if f.Delay > 0 && !sleep(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler)
	}
	if f.Reset {
		reset(w)
	}
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if f.Status == 0 {
		return false
	}
	if !f.Early {
		drain(r)
	}
	if f.Body == "" {
		writeError(w, f.Status, "injected_fault", "this answer was asked for by a test")
		return true
	}
	w.WriteHeader(f.Status)
	w.Write([]byte(f.Body))
	return true
}

// reset breaks a request's connection, with a TCP reset where the connection
// carries one request at a time. It does not return.
func reset(w http.ResponseWriter) {
	if hj, ok := w.(*responseWriter).ResponseWriter.(http.Hijacker); ok {
		if conn, _, err := hj.Hijack(); err == nil {
			if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = c.NetConn() // below TLS, which would say good-bye
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
		}
	}
	panic(http.ErrAbortHandler)
}

// sleep waits for d. It reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
