package h1server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// watchDelay is the time after which a running request is watched for its client to go
// away.
const watchDelay = 5 * time.Millisecond

// serverConn is a connection of a client.
type serverConn struct {
	server *Server
	conn   *tls.Conn
	tls    *tls.ConnectionState
	ctx    context.Context // of all its requests, for they end with it
	cancel context.CancelFunc
	peer   string
	reader *bufio.Reader // of the connection itself; nil between requests
	writer *bufio.Writer // nil between requests
	first  [1]byte       // of a request
	begun  bool          // first was read, and the reader does not have it yet
	readBy time.Time     // the deadline that is in force, zero for none

	hijacked bool // by an upgrade
	watcher
}

// watcher is what a connection has to find out that the client is gone.
type watcher struct {
	timer *time.Timer // calls watch

	mu       sync.Mutex
	serving  bool
	body     *requestBody  // of the request that is served, nil if it has none
	watching chan struct{} // closed when watch is done; nil: nobody watches
}

// serve answers requests as long as they are plain and others may follow. If the
// connection must be handed over, it returns what was read of the next request.
func (c *serverConn) serve() (ahead []byte) {
	defer c.giveReader()
	defer c.waited(nil) // in a panic too
	patience := c.server.HandshakeTimeout
	for {
		if !c.await(patience) {
			return nil
		}
		patience = c.server.IdleTimeout
		buffered, _ := c.reader.Peek(c.reader.Buffered())
		var r *http.Request
		if fastPath(buffered) {
			// Reads no further than the head, so that the buffer stays as it is.
			r, _ = http.ReadRequest(c.reader)
		}
		if r == nil || !httpguts.ValidHostHeader(r.Host) {
			c.setReadBy(time.Time{})
			return bytes.Clone(buffered)
		}
		if !c.answer(r) {
			return nil
		}
	}
}

// await waits for the beginning of a request, for at most most.
func (c *serverConn) await(most time.Duration) bool {
	if c.reader != nil && c.reader.Buffered() > 0 {
		return c.server.mayWait(c, func() {}) && c.waited(nil)
	}
	c.giveReader() // for which a connection that waits has no use
	brief := min(most, c.server.BriefWait)
	if !c.server.mayWait(c, func() {
		now := time.Now()
		// A deadline costs more to be set than to be a little early.
		if left := c.readBy.Sub(now); left > brief || left < brief-brief/16 {
			c.setReadBy(now.Add(brief))
		}
	}) {
		return false
	}
	_, err := io.ReadFull(c.conn, c.first[:])
	if most > brief && errors.Is(err, os.ErrDeadlineExceeded) {
		if !c.server.mayWait(c, func() { c.setReadBy(time.Now().Add(most - brief)) }) {
			return c.waited(err)
		}
		if err = netconn.WaitReadable(c.conn); err == nil || err == errors.ErrUnsupported {
			_, err = io.ReadFull(c.conn, c.first[:])
		}
	}
	if !c.waited(err) {
		return false
	}
	c.begun, c.reader = true, c.server.readerFrom(c)
	_, err = c.reader.Peek(1)
	return err == nil
}

// mayWait notes that c waits for a request, unless the server is being shut down. It calls then
// before that may begin.
func (s *Server) mayWait(c *serverConn, then func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.waiting[c] = struct{}{}
	then()
	return true
}

// waited notes that c does not wait any more, and reports whether err is nil.
func (c *serverConn) waited(err error) bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.waiting, c)
	return err == nil
}

// Read implements [io.Reader] for the buffered reader.
func (c *serverConn) Read(p []byte) (int, error) {
	if !c.begun {
		return c.conn.Read(p)
	}
	c.begun = false
	p[0] = c.first[0]
	n, err := c.conn.Read(p[1:]) // what came with it
	return 1 + n, err
}

// giveReader lets other connections use the reader.
func (c *serverConn) giveReader() {
	if c.reader != nil {
		c.reader.Reset(nil)
		c.server.readers.Put(c.reader)
		c.reader = nil
	}
}

func (c *serverConn) setReadBy(t time.Time) {
	c.readBy = t
	_ = c.conn.SetReadDeadline(t)
}

// answer serves r, and reports whether another request may follow it.
func (c *serverConn) answer(r *http.Request) (another bool) {
	r = r.WithContext(c.ctx)
	r.RemoteAddr, r.TLS = c.peer, c.tls
	var body *requestBody
	if r.ContentLength != 0 {
		c.setReadBy(time.Time{})
		body = &requestBody{body: r.Body, conn: c}
		r.Body = body
	}
	c.writer = c.server.writerTo(c.conn)
	c.startWatch(body)
	w := &response{conn: c, request: r, header: make(http.Header), length: -1}
	ok := c.handle(w, r)
	if c.hijacked {
		c.server.conns.Add(1) // which it takes back as it ends
		return false
	}
	c.stopWatch()
	c.server.giveBack(c.writer)
	c.writer = nil
	left := body != nil && !body.ended.Load()
	if left {
		c.stopReading(body)
	}
	switch {
	case !ok:
		return false
	case left:
		// The client needs time to read the response.
		c.server.Linger.closeWrite(c.conn)
		return false
	}
	return !w.close
}

// handle calls the handler, and reports whether it has answered to the end.
func (c *serverConn) handle(w *response, r *http.Request) (ok bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			c.server.notePanic(c.conn, v)
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	return w.finish() == nil
}

// startWatch watches the client once the request takes a while.
func (c *serverConn) startWatch(body *requestBody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving, c.body = true, body
	if c.timer == nil {
		c.timer = time.AfterFunc(watchDelay, c.watch)
	} else {
		c.timer.Reset(watchDelay)
	}
}

// bodyEnded watches the client, now that the handler reads no more from it.
func (c *serverConn) bodyEnded(body *requestBody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body.ended.Store(true)
	if c.serving && c.body == body {
		c.timer.Reset(watchDelay)
	}
}

// watch cancels the request when the client is gone. While some of the request's body is
// left, whoever reads it finds that out.
func (c *serverConn) watch() {
	c.mu.Lock()
	if !c.serving || c.watching != nil || c.body != nil && !c.body.ended.Load() {
		c.mu.Unlock()
		return
	}
	done := make(chan struct{})
	c.watching = done
	c.setReadBy(time.Time{})
	c.mu.Unlock()

	defer close(done)
	// What comes is the next request, and waits.
	if _, err := c.reader.Peek(1); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.serving {
			c.cancel()
		}
	}
}

// stopWatch stops the watching. Nobody reads from the connection when it returns.
func (c *serverConn) stopWatch() {
	c.timer.Stop()
	c.mu.Lock()
	c.serving, c.body = false, nil
	done := c.watching
	c.watching = nil
	if done != nil {
		c.setReadBy(time.Unix(1, 0))
	}
	c.mu.Unlock()
	if done != nil {
		<-done
	}
}

// stopReading makes those who still read the body give up. A transport may do so after the
// handler has ended, but the reader is another connection's next.
func (c *serverConn) stopReading(body *requestBody) {
	c.setReadBy(time.Unix(1, 0))
	body.close()
}

// requestBody is the body of a request.
type requestBody struct {
	conn   *serverConn
	mu     sync.Mutex // held while it is read
	body   io.Reader
	closed bool
	ended  atomic.Bool
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	if err == io.EOF && !b.ended.Load() {
		b.conn.bodyEnded(b)
	}
	return n, err
}

// Close implements [io.Closer]. It does nothing: the connection reads what is left, or
// closes.
func (b *requestBody) Close() error { return nil }

// close makes reads fail. No read is running when it returns.
func (b *requestBody) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
