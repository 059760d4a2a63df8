package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// newUpgrader returns the handler that sends an upgrade on to its exchange's
// target, authorised as the exchange says. It answers as [Proxy.relay] does where
// the server does not upgrade.
func newUpgrader(transport http.RoundTripper, buffers httputil.BufferPool, errorLog *log.Logger) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      transport,
		FlushInterval:  -1, // every write
		BufferPool:     buffers,
		ModifyResponse: prepareAnswer,
		ErrorHandler:   forwardFailed,
		ErrorLog:       errorLog,
	}
}

// rewrite makes the outgoing request of the incoming one. What it does not name
// goes as it came.
func rewrite(r *httputil.ProxyRequest) {
	x := exchangeOf(r.In.Context())
	r.Out.URL = outgoingURL(r.In, x)
	r.Out.Host = r.In.Host
	keepForwarded(r.Out.Header, r.In.Header)
	message.ForwardTrailers(r.Out, r.In, isCredential)
	if x.auth != nil {
		authorize(r.Out.Header, x.auth)
	}
	if r.Out.Header.Get("Upgrade") != "" {
		traceUpgrade(r.Out, x)
	}
}

// outgoingURL is the URL of the outgoing request: the target's authority, and
// the path and query byte for byte as they came. url.URL writes some characters
// in another way than it read them, and only an opaque URL is never rewritten.
func outgoingURL(in *http.Request, x *exchange) *url.URL {
	out := &url.URL{
		Scheme:     "https",
		Host:       x.target.Authority(),
		Path:       in.URL.Path,
		RawPath:    in.URL.RawPath,
		RawQuery:   in.URL.RawQuery,
		ForceQuery: in.URL.ForceQuery,
	}
	if x.kind == KindPlain {
		out.Scheme = "http"
	}
	if out.EscapedPath() != x.path && !strings.HasPrefix(x.path, "//") {
		out.Opaque = x.path
	}
	return out
}

// traceUpgrade notes the connection that an upgrade is made on, for what
// http.Transport returns of it cannot be half closed.
func traceUpgrade(out *http.Request, x *exchange) {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { x.upgraded = info.Conn }}
	*out = *out.WithContext(httptrace.WithClientTrace(out.Context(), trace))
}

// prepareAnswer readies the server's answer for its way to the client. It fails
// for answers that nobody is to get.
func prepareAnswer(res *http.Response) error {
	if res.StatusCode < 100 || res.StatusCode > 999 { // net/http takes such an answer, and panics when it is to send it
		return fmt.Errorf("the server answered with status %d, which is none", res.StatusCode)
	}
	// HTTP/2 does not go by the length, so that nobody has looked at it.
	if lengths := res.Header["Content-Length"]; lengths != nil {
		if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil || len(lengths) > 1 {
			return fmt.Errorf("the length of the server's answer is %q, which is none", lengths)
		}
	}
	x := exchangeOf(res.Request.Context())
	x.redact(res.Header)
	x.redact(res.Trailer) // whose names are announced
	x.readAlong(res)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return prepareUpgrade(res)
	}
	if len(res.Trailer) > 0 && res.Request.ProtoMajor == 1 {
		// HTTP/2 knows bodies with both a length and trailers.
		res.Header.Del("Content-Length")
	}
	res.Body = &answerBody{ReadCloser: res.Body, x: x, res: res}
	return nil
}

// answerBody is the body of an answer. Closing it after its end does nothing:
// nothing is left to be released, and over HTTP/2 it would wait for the end of
// the request's body, whose sender may be waiting for the end of the answer.
type answerBody struct {
	io.ReadCloser
	x     *exchange
	res   *http.Response
	ended bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended = true
		b.x.redact(b.res.Trailer) // it is there now
	case err != nil:
		err = b.x.redactError(err) // ReverseProxy logs it
	}
	return n, err
}

func (b *answerBody) Close() error {
	if b.ended {
		return nil
	}
	return b.ReadCloser.Close()
}

// prepareUpgrade gives the body of an upgraded exchange the connection's own
// CloseWrite, so that a client that has said all can still be answered. A
// server that switches to what was not asked for is refused, and its connection
// closed, which ReverseProxy leaves open.
func prepareUpgrade(res *http.Response) error {
	asked, got := res.Request.Header.Get("Upgrade"), res.Header.Get("Upgrade")
	if asked == "" || !strings.EqualFold(asked, got) {
		return fmt.Errorf("the server switched to protocol %q, asked for was %q", got, asked)
	}
	x := exchangeOf(res.Request.Context())
	x.answered(res.StatusCode) // ReverseProxy writes it to the connection itself,
	x.webSocket.Store(true)
	res.Status = x.redactText(res.Status)
	if body, ok := res.Body.(io.ReadWriteCloser); ok && x.upgraded != nil {
		res.Body = upgradedBody{body, x.upgraded}
	}
	return nil
}

type upgradedBody struct {
	io.ReadWriteCloser
	conn net.Conn
}

// CloseWrite closes the sending side.
func (b upgradedBody) CloseWrite() error { return netconn.CloseWrite(b.conn) }

// forwardFailed answers a request whose server could not be reached or did not
// answer.
func forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	if r.Context().Err() != nil {
		// Nobody is there to read an answer, or the proxy is being stopped.
		x.failure = "cancelled"
		if cause := context.Cause(r.Context()); !errors.Is(cause, context.Canceled) {
			x.failure = cause.Error()
		}
		panic(http.ErrAbortHandler)
	}
	refused := refuseUpstream(x.target.Authority(), err)
	refused.Message = x.redactText(refused.Message) // it may quote the server
	x.refuse(refused)
}
