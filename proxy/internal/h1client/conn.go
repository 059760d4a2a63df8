package h1client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// maxAnswerHeader bounds the header of a response, in bytes.
const maxAnswerHeader = 1 << 20

// lastAnswerTimeout bounds the wait for a response after the server has stopped taking
// the request.
const lastAnswerTimeout = 5 * time.Second

// lateRequestTimeout bounds how long the end of a request may follow that of the
// response.
const lateRequestTimeout = 50 * time.Millisecond

var errLongAnswerHeader = message.Errorf("the header of the server's answer is longer than %d bytes", maxAnswerHeader)

// serverConn is a connection to a server, with one request at a time on it.
type serverConn struct {
	conn   net.Conn
	socket *netconn.Socket // below the encryption
	pool   *connPool
	host   string
	reader *bufio.Reader // of the connection itself, which counts
	writer *bufio.Writer
	abort  func() // close, made once
	closed sync.Once

	usage
	progress
}

// usage is for the goroutine that has the connection.
type usage struct {
	reused   bool
	answered bool  // something has come since the request began
	left     int64 // how much may still be read
	since    time.Time
}

// progress is how far a request and its response have come.
type progress struct {
	mu      sync.Mutex
	parts   int         // of the two that are not done: the request's body, the response
	spoilt  bool        // no further request may be sent
	sending error       // why the request's body was not sent
	late    *time.Timer // closes the connection if the request does not end soon
}

// newConn returns a connection for which there is room in pool.
func newConn(pool *connPool, host string, conn net.Conn, socket *netconn.Socket) *serverConn {
	c := &serverConn{conn: conn, socket: socket, pool: pool, host: host}
	c.reader, c.writer, c.abort = bufio.NewReader(c), bufio.NewWriter(conn), c.close
	return c
}

// Read implements [io.Reader] for the buffered reader.
func (c *serverConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongAnswerHeader
	}
	p = p[:min(int64(len(p)), c.left)]
	n, err := c.conn.Read(p)
	if n > 0 && err == nil {
		n = c.socket.ReadMore(c.conn, p, n)
	}
	c.left -= int64(n)
	c.answered = c.answered || n > 0
	return n, err
}

// alive reports whether the connection is open, and nothing has come that was not asked
// for: it would be taken for the response to the next request.
func (c *serverConn) alive() bool { return c.socket.Alive(c.conn) }

func (c *serverConn) close() {
	_ = c.conn.Close()
	c.closed.Do(func() { c.pool.release(c.host) })
}

// roundTrip sends r and returns the response, whose body is read from the connection. At
// the end of the body the connection goes back to the pool.
func (c *serverConn) roundTrip(r *http.Request) (*http.Response, error) {
	unwatch := context.AfterFunc(r.Context(), c.abort)
	response, err := c.exchange(r)
	if err != nil {
		unwatch()
		c.close()
		return nil, c.reason(r.Context(), err)
	}
	if response.Body == http.NoBody {
		c.answerDone(unwatch() && !response.Close && !doubtfulEnd(response))
		return response, nil
	}
	c.left = math.MaxInt64
	response.Body = &responseBody{body: response.Body, conn: c, ctx: r.Context(), unwatch: unwatch, last: response.Close}
	return response, nil
}

// doubtfulEnd reports whether a server that has answered without a body might send one all
// the same, which would be taken for the next response: the header describes a body that
// the method or the status leaves out (RFC 9112, section 6.3).
func doubtfulEnd(response *http.Response) bool {
	return response.TransferEncoding != nil ||
		slices.ContainsFunc(response.Header["Content-Length"], func(length string) bool { return length != "0" })
}

// reason returns the cause of an error.
func (c *serverConn) reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending != nil {
		return c.sending
	}
	return err
}

func (c *serverConn) exchange(r *http.Request) (*http.Response, error) {
	c.answered, c.spoilt, c.sending, c.parts = false, false, nil, 1
	if r.Body == nil || r.Body == http.NoBody {
		if err := r.Write(c.writer); err != nil {
			return nil, err
		}
		if err := c.writer.Flush(); err != nil {
			return nil, err
		}
	} else {
		c.parts++
		go c.send(r)
	}
	return c.answer(r)
}

// send sends a request with its body while the response is waited for: that may come, and
// end, before the body does.
func (c *serverConn) send(r *http.Request) {
	body := &flushingBody{ReadCloser: r.Body, writer: c.writer}
	r = r.WithContext(r.Context()) // a copy, for a transport does not change the request
	r.Body = body
	_, err := contain.Call(nil, func() (any, error) {
		if err := r.Write(bodyWriter{c.writer}); err != nil {
			return nil, err
		}
		return nil, c.writer.Flush()
	})
	if _, ok := errors.AsType[*contain.PanicError](err); ok {
		body.failed = true
	}
	switch {
	case err == nil:
		c.done(true)
	case body.failed:
		c.mu.Lock()
		c.sending = err
		c.mu.Unlock()
		c.close()
		c.done(false)
	default:
		// A server that has had enough may have said why.
		_ = c.conn.SetReadDeadline(time.Now().Add(lastAnswerTimeout))
		c.done(false)
	}
}

// answer reads the header of the response.
func (c *serverConn) answer(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	c.left = maxAnswerHeader
	for {
		response, err := http.ReadResponse(c.reader, r)
		switch {
		case err != nil:
			return nil, err
		case response.StatusCode == http.StatusSwitchingProtocols:
			return nil, message.Errorf("the server switched to another protocol, which was not asked for")
		case response.StatusCode < 100 || response.StatusCode > 199:
			return response, nil
		}
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(response.StatusCode, textproto.MIMEHeader(response.Header)); err != nil {
				return nil, err
			}
			c.left = maxAnswerHeader
		}
	}
}

// answerDone notes that the response has ended; ok says whether another may follow it. A
// request that has not ended by then may never end: the server need not read it.
func (c *serverConn) answerDone(ok bool) {
	c.mu.Lock()
	if c.parts > 1 {
		c.late = time.AfterFunc(lateRequestTimeout, c.abort)
	}
	c.mu.Unlock()
	c.done(ok && c.reader.Buffered() == 0)
}

// done notes that a part of the exchange has ended. After the last one the connection is
// free, or closed.
func (c *serverConn) done(ok bool) {
	c.mu.Lock()
	c.parts--
	c.spoilt = c.spoilt || !ok
	if c.parts == 0 && c.late != nil {
		c.spoilt = !c.late.Stop() || c.spoilt
		c.late = nil
	}
	last, spoilt := c.parts == 0, c.spoilt
	c.mu.Unlock()
	if last && (spoilt || !c.pool.put(c)) {
		c.close()
	}
}

// responseBody is the body of a response.
type responseBody struct {
	body    io.Reader
	conn    *serverConn // nil when nothing more is to be read
	ctx     context.Context
	unwatch func() bool
	last    bool // the server closes the connection
	err     error
}

// Read implements [io.Reader].
func (b *responseBody) Read(p []byte) (int, error) {
	c := b.conn
	if c == nil {
		return 0, b.err
	}
	n, err := b.body.Read(p)
	switch {
	case err == nil:
	case err == io.EOF:
		b.conn, b.err = nil, err
		c.answerDone(b.unwatch() && !b.last)
	default:
		err = c.reason(b.ctx, err)
		b.end(err)
	}
	return n, err
}

// Close implements [io.Closer]. The connection is closed if the body was not read to its
// end.
func (b *responseBody) Close() error {
	if b.conn != nil {
		b.end(http.ErrBodyReadAfterClose)
	}
	return nil
}

func (b *responseBody) end(err error) {
	c := b.conn
	b.conn, b.err = nil, err
	b.unwatch()
	c.close()
	c.done(false)
}

// bodyWriter hides ReadFrom of a [bufio.Writer], which would read in pieces of the
// buffer's size.
type bodyWriter struct{ w *bufio.Writer }

// Write implements [io.Writer].
func (w bodyWriter) Write(p []byte) (int, error) { return w.w.Write(p) }

// WriteString implements [io.StringWriter].
func (w bodyWriter) WriteString(s string) (int, error) { return w.w.WriteString(s) }

// WriteByte implements [io.ByteWriter].
func (w bodyWriter) WriteByte(b byte) error { return w.w.WriteByte(b) }

// flushingBody is a body that sends what was read of it before it waits for more.
type flushingBody struct {
	io.ReadCloser
	writer *bufio.Writer
	failed bool // it could not be read
}

// Read implements [io.Reader].
func (b *flushingBody) Read(p []byte) (int, error) {
	if err := b.writer.Flush(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.failed = err != nil && err != io.EOF
	return n, err
}

// BodyBuffered reports whether reading the body of res will not wait, because some of it
// came with the header. It is false for responses of other transports.
func BodyBuffered(res *http.Response) bool {
	b, ok := res.Body.(*responseBody)
	return ok && res.ContentLength > 0 && b.conn.reader.Buffered() > 0
}
