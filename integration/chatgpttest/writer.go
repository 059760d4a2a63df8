package chatgpttest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
)

// responseWriter notes the status of an answer, and breaks it off where a fault
// asks for that.
type responseWriter struct {
	http.ResponseWriter
	rec  *record
	drop int // bytes until the connection breaks; 0 means never
	sent int
}

var (
	_ http.Flusher  = (*responseWriter)(nil)
	_ http.Hijacker = (*responseWriter)(nil)
)

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.rec.update(func(r *Request) {
			if r.Status == 0 {
				r.Status = status
			}
		})
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.rec.update(func(r *Request) {
		if r.Status == 0 {
			r.Status = http.StatusOK
		}
	})
	if w.drop > 0 && w.sent+len(p) >= w.drop {
		w.ResponseWriter.Write(p[:w.drop-w.sent])
		w.Flush()
		panic(http.ErrAbortHandler)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += n
	return n, err
}

// Flush sends what was written. That the client is gone shows at the next write.
func (w *responseWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.drop > 0 {
		conn = &droppingConn{Conn: conn, left: w.drop}
		brw.Writer.Reset(conn)
	}
	return conn, brw, err
}

// droppingConn closes itself when a number of bytes has been written.
type droppingConn struct {
	net.Conn
	left int
}

func (c *droppingConn) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Close()
	return n, errors.New("connection dropped on demand")
}

// maxDrain bounds what is read of a body that nobody looks at.
const maxDrain = 64 << 20

// drain reads the rest of a body, so that it is recorded and the client is not
// cut off while it sends. A client that waits for 100 Continue is not bidden to.
func drain(r *http.Request) {
	if r.Header.Get("Expect") == "" {
		io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain))
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body := append(encodeJSON(v), '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	if !bodyAllowed(status) {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, map[string]any{"error": map[string]any{"message": message, "code": code}})
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
