package proxy

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"

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

// traceUpgrade notes the connection that an upgrade is made on, for what
// http.Transport returns of it cannot be half closed.
func traceUpgrade(out *http.Request, x *exchange) {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { x.upgraded = info.Conn }}
	*out = *out.WithContext(httptrace.WithClientTrace(out.Context(), trace))
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

// isUpgrade reports whether r asks to speak another protocol on its connection
// (RFC 9110, 7.8).
func isUpgrade(r *http.Request) bool {
	return r.Header["Upgrade"] != nil && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "Upgrade")
}

// keepForwarded puts back what httputil.ReverseProxy drops on its own account:
// what a client says about itself is not for this proxy to edit.
func keepForwarded(out, in http.Header) {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := in[name]; ok {
			out[name] = values
		}
	}
}
