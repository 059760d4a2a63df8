package chatgpttest

import (
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxRecordedBody   = 1 << 20  // of one request
	maxRecorded       = 10_000   // requests
	maxRecordedBodies = 64 << 20 // of all requests
)

// A Request is a request as it arrived.
type Request struct {
	Time          time.Time // by the server's clock
	Proto         string
	Method        string
	Host          string
	RequestURI    string // path and query, byte for byte
	Path          string // byte for byte, not unescaped
	RawQuery      string
	Header        http.Header
	Body          []byte // at most 1 MiB of it
	BodyBytes     int64  // all that was read
	BodySHA256    [32]byte
	Trailer       http.Header
	Messages      [][]byte // what came over a WebSocket of codex/responses, at most 1 MiB
	TLSServerName string
	RemoteAddr    string
	Auth          AuthResult
	Status        int  // of the answer; 0 while there is none
	Cut           bool // the body broke off: the client went away while it sent it
	Done          bool // the exchange has ended
}

// Requests returns the requests that arrived, oldest first, those still being
// answered included. The oldest are forgotten after 10 000 requests or 64 MiB.
func (s *Server) Requests() []Request {
	records := s.recorder.all()
	out := make([]Request, len(records))
	for i, e := range records {
		out[i] = e.snapshot()
	}
	return out
}

// ResetRequests forgets the requests that arrived so far.
func (s *Server) ResetRequests() { s.recorder.reset() }

// Count returns how many recorded requests have a path that matches the glob. As
// in [Fault], * stands for any characters, slashes included.
func (s *Server) Count(path string) int {
	n := 0
	for _, e := range s.recorder.all() {
		if matchGlob(path, e.req.Path) { // a path never changes
			n++
		}
	}
	return n
}

// recorder keeps what arrived, within bounds: a server may run for days.
type recorder struct {
	mu      sync.Mutex
	records []*record
	kept    int // bytes of bodies and messages in records
}

func (rec *recorder) all() []*record {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.records)
}

func (rec *recorder) reset() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, e := range rec.records {
		e.dropped = true
	}
	rec.records, rec.kept = nil, 0
}

// begin records r, and with bodies whatever is read of the body of the request that it
// returns, which is the one to serve. The server's own stays as it is: net/http
// looks at its body to see whether the client still waits for "100 Continue".
func (rec *recorder) begin(r *http.Request, now time.Time, bodies bool) (*record, *http.Request) {
	e := &record{recorder: rec, hash: sha256.New(), req: Request{
		Time:       now,
		Proto:      r.Proto,
		Method:     r.Method,
		Host:       r.Host,
		RequestURI: r.RequestURI,
		Path:       rawPath(r),
		RawQuery:   r.URL.RawQuery,
		Header:     r.Header.Clone(),
		RemoteAddr: r.RemoteAddr,
	}}
	if r.TLS != nil {
		e.req.TLSServerName = r.TLS.ServerName
	}
	served := r
	if bodies && r.Body != nil && r.Body != http.NoBody {
		served = r.WithContext(r.Context())
		// Trailers that were not announced appear in r only.
		served.Body = &recordedBody{r.Body, r, e}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.records = append(rec.records, e)
	rec.trim()
	return e, served
}

// keep counts n bytes that e holds from now on.
func (rec *recorder) keep(e *record, n int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if e.dropped {
		return
	}
	e.kept += n
	rec.kept += n
	rec.trim()
}

// trim drops the oldest records beyond the bounds. The caller holds rec.mu.
func (rec *recorder) trim() {
	for len(rec.records) > maxRecorded || rec.kept > maxRecordedBodies && len(rec.records) > 1 {
		oldest := rec.records[0]
		oldest.dropped = true
		rec.kept -= oldest.kept
		rec.records[0] = nil
		rec.records = rec.records[1:]
	}
}

// A record is a Request in the making.
type record struct {
	recorder *recorder
	dropped  bool // guarded by recorder.mu
	kept     int  // guarded by recorder.mu

	mu   sync.Mutex
	req  Request
	hash hash.Hash // of the body so far
}

// update changes the record under its mutex.
func (e *record) update(change func(*Request)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.req)
}

func (e *record) snapshot() Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.req
	r.Header = r.Header.Clone()
	r.Trailer = r.Trailer.Clone()
	r.Body = slices.Clone(r.Body)
	r.Messages = slices.Clone(r.Messages) // a message itself never changes
	e.hash.Sum(r.BodySHA256[:0])
	return r
}

// message records a message that came over a WebSocket.
func (e *record) message(m []byte) {
	e.mu.Lock()
	total := 0
	for _, old := range e.req.Messages {
		total += len(old)
	}
	keep := total+len(m) <= maxRecordedBody
	if keep {
		e.req.Messages = append(e.req.Messages, m)
	}
	e.mu.Unlock()
	if keep {
		e.recorder.keep(e, len(m))
	}
}

// recordedBody records a body while a handler reads it.
type recordedBody struct {
	io.ReadCloser
	r *http.Request
	e *record
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	kept := 0
	b.e.update(func(req *Request) {
		kept = min(n, maxRecordedBody-len(req.Body))
		req.Body = append(req.Body, p[:kept]...)
		req.BodyBytes += int64(n)
		b.e.hash.Write(p[:n])
		if err == io.EOF {
			// net/http fills the trailer in before it reports the end.
			req.Trailer = b.r.Trailer.Clone()
		} else if err != nil {
			req.Cut = true
		}
	})
	if kept > 0 {
		b.e.recorder.keep(b.e, kept)
	}
	return n, err
}

// rawPath returns the request's path as it stands in the request line.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath() // the absolute form, or *
}
