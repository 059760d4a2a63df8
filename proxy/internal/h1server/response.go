package h1server

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// response writes the response to a request, as the server of net/http does. No code
// changes the header between WriteHeader and the first bytes of the body, so that it needs
// no copy.
type response struct {
	conn    *serverConn
	request *http.Request
	header  http.Header
	status  int
	length  int64 // of the body; -1: it is chunked, or there is none
	written int64 // of the body
	begun   bool  // the header was written
	chunked bool
	close   bool // nothing may follow the answer
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter]. It sends 1xx responses at once.
func (w *response) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status < 200:
		w.writeStatus(status)
		_ = w.header.WriteSubset(w.conn.writer, framing)
		_, _ = w.conn.writer.WriteString("\r\n")
		_ = w.conn.writer.Flush() // or what follows will fail
	default:
		w.status = status
	}
}

// framing has the fields that give the length of a message and say what happens to the
// connection after it.
var framing = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Connection": true}

func (w *response) writeStatus(status int) {
	b := w.conn.writer
	_, _ = b.WriteString("HTTP/1.1 ")
	_, _ = b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(status), 10))
	_ = b.WriteByte(' ')
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	_, _ = b.WriteString(text)
	_, _ = b.WriteString("\r\n")
}

// bodyAllowed reports whether responses with a status have bodies (RFC 9110, section
// 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// begin writes the header. ended says that what was written of the body is all of it.
func (w *response) begin(ended bool) {
	w.begun = true
	b, h, head := w.conn.writer, w.header, w.request.Method == http.MethodHead
	allowed := bodyAllowed(w.status)
	length := ""
	if allowed {
		length = h.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(length, 10, 64); err == nil && n >= 0 {
		w.length = n
	} else {
		length = ""
	}
	if length == "" && ended && allowed && !head && h["Trailer"] == nil {
		w.length, length = 0, "0"
	}
	w.close = w.request.Close || h.Get("Connection") == "close" || w.conn.server.draining.Load()

	w.writeStatus(w.status)
	if w.status == http.StatusNotModified {
		_ = h.WriteSubset(b, framing304)
	} else {
		_ = h.WriteSubset(b, framing)
	}
	if length != "" {
		_, _ = b.WriteString("Content-Length: ")
		_, _ = b.WriteString(length)
		_, _ = b.WriteString("\r\n")
	} else if allowed && !head {
		w.chunked = true
		_, _ = b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if w.close {
		_, _ = b.WriteString("Connection: close\r\n")
	}
	if h["Date"] == nil {
		_, _ = b.WriteString("Date: ")
		_, _ = b.Write(time.Now().UTC().AppendFormat(b.AvailableBuffer(), http.TimeFormat))
		_, _ = b.WriteString("\r\n")
	}
	_, _ = b.WriteString("\r\n")
}

// framing304 is framing and the field that describes a body which is not there.
var framing304 = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Content-Type": true}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if !w.begun {
		w.begin(false)
	}
	w.written += int64(len(p))
	switch {
	case w.length >= 0 && w.written > w.length:
		return 0, http.ErrContentLength
	case len(p) == 0:
		return 0, nil
	case w.chunked: // the request was not for the head alone
		return w.writeChunk(p)
	case w.request.Method == http.MethodHead:
		return len(p), nil
	}
	return w.writeBody(p)
}

// maxRecord is the most that a TLS record holds, in bytes (RFC 8446, section 5.1).
const maxRecord = 16 << 10

// writeBody writes a piece of the body, corked if it is large: encryption makes many
// pieces of it, each of which would wake the client.
func (w *response) writeBody(p []byte) (int, error) {
	if len(p) <= maxRecord {
		return w.conn.writer.Write(p)
	}
	if socket := netconn.SocketOf(w.conn.conn); socket != nil {
		netconn.Cork(socket, true)
		defer netconn.Cork(socket, false)
	}
	return w.conn.writer.Write(p)
}

// FlushError implements the method that [http.ResponseController.Flush] calls.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun {
		w.begin(false)
	}
	return w.conn.writer.Flush()
}

// EnableFullDuplex implements the method that
// [http.ResponseController.EnableFullDuplex] calls. Responses never wait for the request's
// body.
func (w *response) EnableFullDuplex() error { return nil }

// Hijack implements [http.Hijacker]. The connection is the caller's, as that of net/http is:
// [Server.Shutdown] does not wait for it any more. What has been read of it already comes first.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.conn
	if w.begun || c.hijacked {
		return nil, nil, http.ErrHijacked
	}
	c.stopWatch()
	c.setReadBy(time.Time{})
	c.hijacked = true
	c.server.conns.Add(-1)
	conn := netconn.Unread(c.conn, c.reader)
	writer := c.writer
	c.giveReader() // or a quiet connection would hold it
	c.writer = nil
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, 0), writer), nil
}

// finish ends the response.
func (w *response) finish() error {
	if w.conn.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun {
		w.begin(true)
	}
	if w.chunked {
		if _, err := w.conn.writer.WriteString("0\r\n"); err != nil {
			return err
		}
		if err := w.trailer().Write(w.conn.writer); err != nil {
			return err
		}
		_, _ = w.conn.writer.WriteString("\r\n")
	}
	if w.length >= 0 && w.length != w.written && w.request.Method != http.MethodHead {
		w.close = true // which is the only way to say that something is wrong
	}
	return w.conn.writer.Flush()
}

// writeChunk writes a piece of a chunked body (RFC 9112, section 7.1).
func (w *response) writeChunk(p []byte) (int, error) {
	b := w.conn.writer
	_, _ = b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(len(p)), 16))
	_, _ = b.WriteString("\r\n")
	n, err := w.writeBody(p)
	if err != nil {
		return n, err
	}
	_, err = b.WriteString("\r\n") // any error before is this one
	return n, err
}

// trailer returns the fields that follow the body: those that the header has announced,
// and those with [http.TrailerPrefix].
func (w *response) trailer() http.Header {
	var trailer http.Header
	add := func(name string, values []string) {
		if trailer == nil {
			trailer = make(http.Header)
		}
		if httpguts.ValidTrailerHeader(name) {
			trailer[name] = values
		}
	}
	for _, names := range w.header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := w.header[name]; ok {
				add(name, values)
			}
		}
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(name), values)
		}
	}
	return trailer
}
