package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/h1client"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
)

// headerDelay is how long the header of an answer waits for the body's first
// bytes, so that both go out in one piece.
const headerDelay = time.Millisecond

// relay sends the exchange's request on and the answer back. It does what
// httputil.ReverseProxy does, which has the upgrades, but copies no more of a
// message than it changes, and does not flush what net/http is about to.
func (p *Proxy) relay(x *exchange, r *http.Request) {
	in := &informer{x: x}
	out := outgoing(x, r, in)
	if out.Body != nil {
		// Reading from it after the handler has returned is not allowed, and a
		// transport may.
		defer out.Body.Close()
	}
	defer in.stop()
	res, err := recovering{}.RoundTrip(out)
	in.stop()
	if err != nil {
		forwardFailed(x, out, err)
		return
	}
	empty, atHand := res.Body == http.NoBody, h1client.BodyBuffered(res)
	if err := prepareAnswer(res); err != nil {
		res.Body.Close()
		forwardFailed(x, out, err)
		return
	}
	message.RemoveHopByHop(res.Header)
	h := x.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	announced := len(res.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			names = append(names, name)
		}
		h["Trailer"] = []string{strings.Join(names, ", ")}
	}
	x.WriteHeader(res.StatusCode)
	if !empty {
		if err := p.copyAnswer(x, res, atHand); err != nil {
			res.Body.Close()
			panic(http.ErrAbortHandler) // a part must not pass for the whole
		}
	}
	res.Body.Close()
	if len(res.Trailer) > 0 {
		_ = x.FlushError() // or net/http makes a body of known length of it, which has none
	}
	prefix := ""
	if len(res.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range res.Trailer {
		if httpguts.ValidTrailerHeader(name) {
			h[prefix+name] = values
		}
	}
}

// outgoing is the request that is sent on.
func outgoing(x *exchange, r *http.Request, in *informer) *http.Request {
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	out := r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: in.inform}))
	out.URL = outgoingURL(r, x)
	out.Header = message.EndToEnd(r.Header)
	out.Close = false
	switch {
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		out.Body = nil
	default:
		out.Body = &outgoingBody{body: r.Body, x: x}
	}
	message.ForwardTrailers(out, r, isCredential)
	if x.auth != nil {
		authorize(out.Header, x.auth)
	}
	return out
}

// outgoingBody is the body of the client's request. It counts the bytes, and is
// not closed by a transport: that would wait for all of it.
type outgoingBody struct {
	body   io.Reader
	x      *exchange
	closed atomic.Bool
}

// Read implements [io.Reader].
func (b *outgoingBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	b.x.received.Add(int64(n))
	if err == io.EOF {
		b.x.bodyLeft.Store(false)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *outgoingBody) Close() error {
	b.closed.Store(true)
	return nil
}

// informer passes informational answers (1xx) on until the final one is there.
// A transport may still be at it when it has given up the request.
type informer struct {
	x       *exchange
	mu      sync.Mutex
	stopped bool
}

func (in *informer) inform(status int, header textproto.MIMEHeader) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		return nil
	}
	h := in.x.Header()
	for name, values := range header {
		h[name] = values
	}
	in.x.WriteHeader(status)
	clear(h)
	return nil
}

func (in *informer) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stopped = true
}

// copyAnswer copies the body of an answer to the client. Every write is flushed
// as it comes, whatever its type: agents stream over server-sent events, NDJSON
// and plain chunks. The last one of a body of known length is flushed when the
// server has ended the answer, as a rule a moment later.
func (p *Proxy) copyAnswer(x *exchange, res *http.Response, atHand bool) error {
	w := &answerWriter{x: x}
	defer w.stop()
	if !atHand {
		w.timer = time.AfterFunc(headerDelay, w.flushLate)
	}
	buffer := p.buffers.Get()
	defer func() { p.buffers.Put(buffer) }()
	var written int64
	for {
		n, err := res.Body.Read(buffer)
		if n > 0 {
			written += int64(n)
			last := written == res.ContentLength
			if err := w.write(buffer[:n], !last, last && err == nil); err != nil {
				return err
			}
			x.tapped(buffer[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n == len(buffer) {
			buffer = p.buffers.Larger(buffer)
		}
	}
}

// answerWriter writes the body of an answer. It sends the header ahead if the
// body is late, and the last of the body if the answer's end is.
type answerWriter struct {
	x     *exchange
	mu    sync.Mutex
	timer *time.Timer // flushes what is late; nil: nothing needs to
	begun bool        // what may be late is on its way, or will be with what comes
}

func (w *answerWriter) flushLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.begun = true
		_ = w.x.FlushError()
	}
}

// write writes b, and has it flushed at once or a little later.
func (w *answerWriter) write(b []byte, flush, flushLate bool) error {
	w.stop()
	if _, err := w.x.Write(b); err != nil {
		return err
	}
	if flush {
		return w.x.FlushError()
	}
	if !flushLate {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.timer = false, time.AfterFunc(headerDelay, w.flushLate)
	return nil
}

// stop returns when nobody else writes.
func (w *answerWriter) stop() {
	if w.timer == nil {
		return
	}
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.timer = true, nil
}
