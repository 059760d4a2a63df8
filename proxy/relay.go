package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/h1client"
	"github.com/agentproxy/agentproxy/proxy/internal/interim"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// forwarder sends the requests of exchanges on, and their responses back.
type forwarder struct {
	buffers *message.Buffers
	turns   *track.Turns // of what takes time of the processors
}

// forward sends the exchange's request on, and the response back. It does what
// [httputil.ReverseProxy] does, but copies no more of a message than it changes, does not
// flush what net/http is about to flush, and keeps two goroutines for an upgrade and not four.
func (f *forwarder) forward(x *exchange, r *http.Request) {
	if upgraded := f.roundTrip(x, r); upgraded != nil {
		f.switchProtocols(x, upgraded)
	}
}

// roundTrip is forward for all but the messages after an upgrade, whose response it returns: they
// need no room for what is here on a stack that lasts as long as they do.
func (f *forwarder) roundTrip(x *exchange, r *http.Request) (upgraded *http.Response) {
	x.buffers = f.buffers
	netconn.EndTurn(x.client)
	in := interim.New(x, &x.Unread, r.Header.Get("Expect") != "" && !x.stream && !x.finalOnly)
	out, body := outgoing(x, r, in)
	if body != nil {
		x.turn.End()
		if x.kind != KindRequest { // whose connection takes turns
			body.paced = &track.TurnReader{Reader: body.body, Turns: f.turns, Key: track.Key{Kind: track.Shared, Name: x.label}, Free: 16 << 10}
			body.body = body.paced
		}
		waited, refused := x.BeginUpload(r.Context(), out.ContentLength)
		if refused != nil && r.Context().Err() == nil {
			x.refuse(refused)
			return nil
		}
		if waited && cut.HasLeft(x.client) {
			x.failure = "cancelled"
			x.culprit.Name(cut.Client)
			panic(http.ErrAbortHandler)
		}
		// A transport may read from it after the handler has returned, which net/http
		// does not allow.
		defer body.Close()
	}
	defer in.Stop()
	if x.TakeWindow(upstream.Window, upstream.NarrowWindow); x.Window == upstream.NarrowWindow {
		x.turn.End() // or others would wait for it meanwhile
		f.turns.AwaitRequest(x.label)
	}
	defer x.connecting.End()
	res, err := resender{}.RoundTrip(out)
	if err != nil {
		if ended := in.Err(); ended != nil {
			err = ended
			x.profile.upstream.NoteReset(x.label)
		}
		in.Stop()
		forwardFailed(x, out, err)
		return nil
	}
	if x.Unread.Add(message.MaxBuffer); res.ProtoMajor == 2 {
		x.Unread.Add(x.Window)
	} else {
		x.GiveWindow()
	}
	if in.Stop(); in.Err() != nil { // a part of a response may be written
		res.Body.Close()
		panic(http.ErrAbortHandler)
	}
	empty, buffered := res.Body == http.NoBody, h1client.BodyBuffered(res)
	if err := prepareResponse(res); err != nil {
		res.Body.Close()
		forwardFailed(x, out, err)
		return nil
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res
	}
	message.RemoveHopByHop(res.Header)
	h := x.Header()
	maps.Copy(h, res.Header)
	announced := message.AnnounceTrailers(h, res)
	x.WriteHeader(res.StatusCode)
	if !empty {
		if err := f.copyBody(x, res, buffered); err != nil {
			res.Body.Close()
			panic(http.ErrAbortHandler) // a part must not pass for the whole
		}
	}
	res.Body.Close()
	if len(res.Trailer) > 0 {
		_ = x.FlushError() // or net/http makes a body of known length of it, which has no trailers
	}
	message.CopyTrailers(h, res, announced)
	return nil
}

// outgoing returns the request that is sent on, and what reads its body, nil if it has none.
func outgoing(x *exchange, r *http.Request, in *interim.Queue) (out *http.Request, body *outgoingBody) {
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	if !x.finalOnly {
		trace := in.Trace(x.turn.EndFunc())
		x.connecting.Trace(trace)
		ctx = httptrace.WithClientTrace(upstream.WithConnecting(ctx, &x.connecting), trace)
	}
	protocol := r.Header.Get("Upgrade")
	upgrade := protocol != "" && !x.finalOnly && message.IsUpgrade(r)
	if upgrade {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { x.upgraded = info.Conn }})
	}
	out = r.WithContext(ctx)
	scheme := "https"
	if x.kind == KindPlain {
		scheme = "http"
	}
	out.URL = message.URL(r.URL, scheme, x.target.Authority(), x.path)
	out.Header = message.EndToEnd(r.Header)
	out.Close = false
	if upgrade {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	}
	out.Body = nil
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		body = &outgoingBody{body: r.Body, x: x, in: in}
		out.Body = body
	}
	message.ForwardTrailers(out, r, credential.IsField)
	if x.auth != nil {
		credential.Authorize(out.Header, x.auth)
	}
	return out, body
}

// outgoingBody is the body of the client's request. It counts the bytes. Close does
// not close the body itself, which would wait for all of it.
type outgoingBody struct {
	body   io.Reader
	x      *exchange
	in     *interim.Queue
	closed atomic.Bool
	paced  *track.TurnReader // the body, if it is read in turns
}

// Read implements [io.Reader].
func (b *outgoingBody) Read(p []byte) (n int, err error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer contain.Recover(b.x.Panicked, &err) // on a goroutine of a transport it would end the program
	if err := b.in.Ask(); err != nil {
		return 0, err
	}
	n, err = b.body.Read(p)
	if !b.x.stream { // of which another goroutine has the turn
		netconn.EndTurn(b.x.client) // what was read is about to be written, which may wait for the server
	}
	b.x.received.Add(int64(n))
	if err == io.EOF {
		b.x.bodyLeft.Store(false)
		b.x.EndUpload()
	} else if cut.IsBroken(err) && !b.closed.Load() {
		b.x.culprit.Name(cut.Client)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *outgoingBody) Close() error {
	b.closed.Store(true)
	b.paced.End()
	b.x.EndUpload()
	return nil
}

// prepareResponse prepares the server's response for its way to the client. It
// returns an error for responses that no client may get.
func prepareResponse(res *http.Response) error {
	if err := message.CheckResponse(res); err != nil {
		return err
	}
	x := exchangeOf(res.Request.Context())
	x.Redact(res.Header)
	x.Redact(res.Trailer) // the names, which are announced
	x.readAlong(res)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return prepareUpgrade(res)
	}
	if len(res.Trailer) > 0 && res.Request.ProtoMajor == 1 {
		// Only HTTP/2 has bodies with both a length and trailers.
		res.Header.Del("Content-Length")
	}
	res.Body = &responseBody{ReadCloser: res.Body, x: x, res: res}
	return nil
}

// responseBody is the body of a response. Closing it after its end does nothing:
// nothing is left to be released, and over HTTP/2 it would wait for the end of the
// request's body, whose sender may be waiting for the end of the response.
type responseBody struct {
	io.ReadCloser
	x     *exchange
	res   *http.Response
	ended bool
}

// Read implements [io.Reader].
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	ctx := b.res.Request.Context()
	if err == io.EOF && b.res.ContentLength < 0 && ctx.Err() != nil {
		err = ctx.Err() // the server has ended the response because it was told to
	}
	if err == io.EOF {
		b.ended = true
		b.x.Redact(b.res.Trailer) // the values, which have come now
	} else {
		contain.Tell(b.x.Panicked, err) // of sending the request's body
		by := cut.Server
		if ctx.Err() != nil {
			by = cut.Client // or the proxy, which says so by itself
		}
		_ = b.x.culprit.Note(by, err)
		err = b.x.redactError(err)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *responseBody) Close() error {
	if b.ended {
		return nil
	}
	if b.res.ProtoMajor == 2 && b.x.culprit.Side() != cut.Server { // which has reset it itself
		b.x.profile.upstream.NoteReset(b.x.label)
	}
	return b.ReadCloser.Close()
}

// copyBody copies the body of a response to the client. It flushes every write,
// whatever its type: agents stream over server-sent events, NDJSON and plain chunks.
// It flushes the last one of a body of known length when the server has ended the
// response, which is usually a moment later. buffered says that reading will not wait.
func (f *forwarder) copyBody(x *exchange, res *http.Response, buffered bool) error {
	w := message.NewBodyWriter(x, buffered)
	defer func() { _ = w.Stop() }()
	buffer := f.buffers.Small()
	defer func() { f.buffers.Put(buffer) }()
	var written int64
	for {
		n, err := f.buffers.Read(&buffer, res.Body, res.ProtoMajor == 2)
		if n > 0 {
			written += int64(n)
			last := written == res.ContentLength
			if err := w.Write(buffer[:n], !last, last && err == nil); err != nil {
				return err
			}
			if x.tap != nil {
				x.tap.Tap(buffer[:n])
			}
		}
		if err == io.EOF {
			return w.Stop()
		}
		if err != nil {
			return err
		}
		if n > 0 {
			buffer = f.buffers.Fit(buffer, n)
		}
	}
}

// forwardFailed answers a request whose server could not be reached or did not
// answer.
func forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	contain.Tell(x.Panicked, err)
	if r.Context().Err() != nil || x.culprit.Side() == cut.Client {
		// The client is gone, or the proxy is being stopped.
		x.failure = "cancelled"
		x.culprit.Name(cut.Client)
		x.profile.upstream.NoteReset(x.label)
		if cause := context.Cause(r.Context()); cause != nil && !errors.Is(cause, context.Canceled) {
			x.failure = cause.Error()
		}
		panic(http.ErrAbortHandler)
	}
	refused := failure.Upstream(x.target.Authority(), err)
	refused.Message = x.redactText(refused.Message) // it may quote the server
	x.refuse(refused)
}
