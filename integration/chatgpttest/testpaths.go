package chatgpttest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// The endpoints under test/ have nothing to do with ChatGPT. They answer in all
// the ways that are hard on a proxy or a client.

// intParam returns a number from the query, within bounds. It has answered if ok
// is false.
func intParam(w http.ResponseWriter, r *http.Request, name string, def, limit int) (n int, ok bool) {
	q, _ := url.ParseQuery(r.URL.RawQuery) // what cannot be parsed is left out
	v := q.Get(name)
	if v == "" {
		return def, true
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > limit {
		writeError(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("%s=%q is not a number from 0 to %d", name, v, limit))
		return 0, false
	}
	return n, true
}

// stream sends n pieces, interval_ms apart, the first at once.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, contentType string, piece func(i int) string) {
	drain(r)
	n, ok := intParam(w, r, "n", 3, 1_000_000)
	if !ok {
		return
	}
	ms, ok := intParam(w, r, "interval_ms", 0, 3_600_000)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", contentType)
	rc := http.NewResponseController(w)
	rc.Flush() // the header goes out even if there is no piece
	for i := range n {
		if i > 0 && ms > 0 && !sleep(r.Context(), time.Duration(ms)*time.Millisecond) {
			panic(http.ErrAbortHandler) // a stream cut short must not look complete
		}
		io.WriteString(w, piece(i))
		if rc.Flush() != nil {
			return
		}
	}
}

func (s *Server) serveTestSSE(w http.ResponseWriter, r *http.Request, _ *exchange) {
	s.stream(w, r, "text/event-stream", func(i int) string { return fmt.Sprintf("id: %d\ndata: {\"i\":%d}\n\n", i, i) })
}

func (s *Server) serveTestNDJSON(w http.ResponseWriter, r *http.Request, _ *exchange) {
	s.stream(w, r, "application/x-ndjson", func(i int) string { return fmt.Sprintf("{\"i\":%d}\n", i) })
}

func (s *Server) serveTestChunked(w http.ResponseWriter, r *http.Request, _ *exchange) {
	s.stream(w, r, "application/octet-stream", func(i int) string { return fmt.Sprintf("chunk %d\n", i) })
}

// serveTestEcho tells in JSON what request arrived.
func (s *Server) serveTestEcho(w http.ResponseWriter, r *http.Request, x *exchange) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	req := x.rec.snapshot()
	writeJSON(w, http.StatusOK, map[string]any{
		"proto": req.Proto, "method": req.Method, "host": req.Host, "uri": req.RequestURI,
		"headers": req.Header, "trailers": req.Trailer,
		"body_bytes": req.BodyBytes, "body_sha256": fmt.Sprintf("%x", req.BodySHA256),
	})
}

// serveTestWebSocket sends every message back, up to 16 MiB each.
func (s *Server) serveTestWebSocket(w http.ResponseWriter, r *http.Request, _ *exchange) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionContextTakeover,
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	for {
		typ, msg, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), typ, msg); err != nil {
			return
		}
	}
}

// serveTestTrailers answers with two trailers, one of them announced.
func (s *Server) serveTestTrailers(w http.ResponseWriter, r *http.Request, _ *exchange) {
	size, sum, err := countAndHash(r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	w.Header().Set("Trailer", "X-Body-Sha256")
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%d bytes\n", size)
	http.NewResponseController(w).Flush()
	w.Header().Set("X-Body-Sha256", sum)
	w.Header().Set(http.TrailerPrefix+"X-Unannounced", "yes")
}

// serveTestEarlyHints answers 103 and then 200.
func (s *Server) serveTestEarlyHints(w http.ResponseWriter, r *http.Request, _ *exchange) {
	drain(r)
	w.Header().Set("Link", "</style.css>; rel=preload; as=style")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	writeJSON(w, http.StatusOK, map[string]any{"hints": 1})
}

func (s *Server) serveTestStatus(w http.ResponseWriter, r *http.Request, x *exchange) {
	drain(r)
	status, err := strconv.Atoi(x.param)
	if err != nil || status < 200 || status > 599 {
		writeError(w, http.StatusBadRequest, "invalid_request", x.param+" is not a status from 200 to 599")
		return
	}
	if !bodyAllowed(status) {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, map[string]any{"status": status})
}

// serveTestBytes answers with n bytes, the letters over and over.
func (s *Server) serveTestBytes(w http.ResponseWriter, r *http.Request, _ *exchange) {
	drain(r)
	n, ok := intParam(w, r, "n", 1024, 1<<30)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	writeLetters(w, n)
}

// serveTestTruncate breaks off after n bytes. It had declared twice as many and
// one, or, with chunked=1, no length at all.
func (s *Server) serveTestTruncate(w http.ResponseWriter, r *http.Request, _ *exchange) {
	drain(r)
	n, ok := intParam(w, r, "n", 1024, 1<<30)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.URL.Query().Get("chunked") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(2*n+1))
	}
	writeLetters(w, n)
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func writeLetters(w io.Writer, n int) {
	buf := make([]byte, 26*1024)
	for i := range buf {
		buf[i] = 'a' + byte(i%26)
	}
	for n > 0 {
		k, err := w.Write(buf[:min(n, len(buf))])
		if err != nil {
			return
		}
		n -= k
	}
}

// serveTestUpload counts and hashes a body as it comes.
func (s *Server) serveTestUpload(w http.ResponseWriter, r *http.Request, _ *exchange) {
	size, sum, err := countAndHash(r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"bytes": size, "sha256": sum})
}

// serveTestRefuse answers with a status from 400 on, and does not read the body.
func (s *Server) serveTestRefuse(w http.ResponseWriter, _ *http.Request, x *exchange) {
	status, err := strconv.Atoi(x.param)
	if err != nil || status < 400 || status > 599 {
		writeError(w, http.StatusBadRequest, "invalid_request", x.param+" is not a status from 400 to 599")
		return
	}
	writeError(w, status, "refused", "the body is not wanted")
}

// serveTestExpect tells whether the client waited for 100 Continue. With
// refuse=1 it answers 417 instead and does not read the body.
func (s *Server) serveTestExpect(w http.ResponseWriter, r *http.Request, _ *exchange) {
	expect := r.Header.Get("Expect")
	if r.URL.Query().Get("refuse") != "" {
		writeError(w, http.StatusExpectationFailed, "expectation_failed", "the body is not wanted")
		return
	}
	size, sum, err := countAndHash(r.Body) // sends 100 Continue
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"expect": expect, "bytes": size, "sha256": sum})
}
