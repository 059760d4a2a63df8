package upstream

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	socks "golang.org/x/net/proxy"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// maxConnectHeader bounds what an upstream proxy answers to a CONNECT, in bytes.
const maxConnectHeader = 64 << 10

// maxSOCKSField bounds a user name and a password of SOCKS5, in bytes (RFC 1929).
const maxSOCKSField = 255

// CheckProxy returns an error if there is a mistake in Proxy or ProxyByURL. The error
// does not quote the URL, which may hold a password.
func (c Config) CheckProxy() error {
	if c.Proxy != nil {
		return checkProxyURL(c.Proxy)
	}
	for _, v := range []struct{ variable, value string }{{"HTTPS_PROXY", c.ProxyByURL.HTTPSProxy}, {"HTTP_PROXY", c.ProxyByURL.HTTPProxy}} {
		if v.value == "" {
			continue
		}
		u, err := url.Parse(v.value)
		if err != nil || u.Scheme == "" || u.Host == "" { // httpproxy takes host:port too
			u, err = url.Parse("http://" + v.value)
		}
		if err != nil {
			return fmt.Errorf("%s is not a URL such as http://proxy.example:3128", v.variable)
		}
		if err := checkProxyURL(u); err != nil {
			return fmt.Errorf("%s: %w", v.variable, err)
		}
	}
	return nil
}

func checkProxyURL(u *url.URL) error {
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return message.Errorf("it is not a scheme, a host and a port; write it as http://proxy.example:3128")
	}
	switch u.Scheme {
	case "http", "https":
	case "socks5", "socks5h":
		if u.User == nil {
			break
		}
		password, _ := u.User.Password()
		if user := u.User.Username(); user == "" || len(user) > maxSOCKSField || len(password) > maxSOCKSField {
			return message.Errorf("a user name of SOCKS5 has 1 to %d bytes, and a password at most as many", maxSOCKSField)
		}
	default:
		return message.Errorf("its scheme is none of http, https, socks5, socks5h")
	}
	return nil
}

// ProxyError is an error at an upstream proxy, or on the way to it.
type ProxyError struct {
	proxy string // without user and password, "" if it is not known
	err   error
}

func atProxy(via *url.URL, err error) error {
	return &ProxyError{(&url.URL{Scheme: via.Scheme, Host: via.Host}).String(), err}
}

// Error implements [error].
func (e *ProxyError) Error() string { return e.Name() + ": " + e.err.Error() }

// Unwrap returns the error itself.
func (e *ProxyError) Unwrap() error { return e.err }

// Name returns how messages name the proxy, without its user and password.
func (e *ProxyError) Name() string { return strings.TrimSpace("the upstream proxy " + e.proxy) }

// proxyFor returns the upstream proxy for requests to u, nil if there is none.
func (d *dialer) proxyFor(u *url.URL) (*url.URL, error) {
	if _, ok := d.routes.find(hostPort(u)); ok {
		return nil, nil
	}
	via, err := d.proxy(u)
	if err != nil { // which repeats the proxy's URL
		return nil, &ProxyError{err: message.Errorf("HTTPS_PROXY or HTTP_PROXY is not a URL such as http://proxy.example:3128")}
	}
	if via == nil {
		return nil, nil
	}
	if err := checkProxyURL(via); err != nil {
		return nil, atProxy(via, err)
	}
	// The proxy resolves names, but an address needs no resolution, and the proxy may be
	// on this machine.
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := d.checkPublic(addr); err != nil {
			return nil, err
		}
	}
	return via, nil
}

// dialThrough connects to the server at address by a tunnel of the proxy via.
func (d *dialer) dialThrough(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dialProxy(ctx, via)
	if err != nil {
		return nil, err
	}
	through := connectThrough
	if isSOCKS(via) {
		through = socksThrough
	}
	tunnel, err := through(ctx, conn, via, address)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, atProxy(via, err)
	}
	return tunnel, nil
}

func isSOCKS(via *url.URL) bool { return via.Scheme == "socks5" || via.Scheme == "socks5h" }

// dialProxy connects to the proxy via, over TLS if its scheme is https.
func (d *dialer) dialProxy(ctx context.Context, via *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.connect(ctx, &d.trusted, hostPort(via))
	if err != nil {
		return nil, atProxy(via, err)
	}
	if via.Scheme != "https" {
		return conn, nil
	}
	secured, err := netconn.Handshake(ctx, conn, newTLSConfig(), d.config.RootCAs, via.Hostname())
	if err != nil {
		return nil, atProxy(via, err)
	}
	return secured, nil
}

// connectThrough asks the proxy at the other end of conn for a tunnel to address. The
// first bytes of the server may come together with the proxy's response (an SSH server
// speaks first), so the connection returns again what was read too far.
func connectThrough(ctx context.Context, conn net.Conn, via *url.URL, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: address},
		Host:   address,
		Header: http.Header{},
	}
	request.Header["User-Agent"] = nil
	if via.User != nil {
		request.Header.Set("Proxy-Authorization", basicCredentials(via))
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(io.LimitReader(conn, maxConnectHeader))
	response, err := readConnectResponse(buffered, request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 { // RFC 9110, 9.3.6
		return nil, refusedByProxy(response, via)
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return netconn.Unread(conn, buffered), nil
}

// readConnectResponse reads the final response to a CONNECT. A 101 is one, because no
// other protocol was asked for.
func readConnectResponse(r *bufio.Reader, request *http.Request) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(r, request)
		if err != nil || response.StatusCode < 100 || response.StatusCode > 199 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}

func basicCredentials(via *url.URL) string {
	password, _ := via.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password))
}

// socksThrough asks the SOCKS5 proxy at the other end of conn for a tunnel to address.
// The proxy resolves the name.
func socksThrough(ctx context.Context, conn net.Conn, via *url.URL, address string) (net.Conn, error) {
	var auth *socks.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &socks.Auth{User: via.User.Username(), Password: password}
	}
	d, err := socks.SOCKS5("tcp", hostPort(via), auth, connectedDialer{conn})
	if err != nil {
		return nil, err
	}
	// The connection that it returns cannot be half closed. It reads no further than the
	// proxy's reply, so that conn can be used instead.
	if _, err = d.(socks.ContextDialer).DialContext(ctx, "tcp", address); err == nil {
		return conn, nil
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && strings.HasPrefix(op.Op, "socks") {
		err = op.Err
	}
	return nil, message.Errorf("SOCKS5 to %s: %w", address, err)
}

// connectedDialer is a dialer that returns a connection which is made already.
type connectedDialer struct{ conn net.Conn }

// Dial implements [socks.Dialer].
func (d connectedDialer) Dial(string, string) (net.Conn, error) { return d.conn, nil }

// DialContext implements [socks.ContextDialer].
func (d connectedDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return d.conn, nil
}

// refusedByProxy returns the error for a response by which the proxy via refuses a
// request.
func refusedByProxy(response *http.Response, via *url.URL) error {
	if response.StatusCode != http.StatusProxyAuthRequired {
		return message.Errorf("it refused CONNECT %s with %q", response.Request.Host, statusOf(response, via))
	}
	schemes := authSchemes(response.Header["Proxy-Authenticate"])
	list := strings.Join(schemes, ", ")
	switch {
	case len(schemes) == 0:
		return message.Errorf("it asks for authentication (407) and names no scheme")
	case !slices.ContainsFunc(schemes, func(s string) bool { return strings.EqualFold(s, "Basic") }):
		return message.Errorf("it asks for authentication (407) by %s, and this program knows Basic alone; put a proxy in between that knows one of them", list)
	case via.User == nil:
		return message.Errorf("it asks for authentication (407) by %s; put user and password into its URL", list)
	}
	return message.Errorf("it does not accept the user and password of its URL (407); it takes %s", list)
}

// statusOf returns the status of a proxy's response, with the words of the proxy unless
// they repeat what the URL holds.
func statusOf(response *http.Response, via *url.URL) string {
	if via.User != nil {
		password, _ := via.User.Password()
		for _, secret := range []string{via.User.Username(), password, strings.TrimPrefix(basicCredentials(via), "Basic ")} {
			if secret != "" && strings.Contains(response.Status, secret) {
				return fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
			}
		}
	}
	return response.Status[:min(len(response.Status), 100)]
}

// maxSchemes bounds the authentication schemes that are named.
const maxSchemes = 8

// authSchemes returns the schemes of challenges (RFC 9110, section 11.6.1), each once.
func authSchemes(challenges []string) (schemes []string) {
	for _, value := range challenges {
		for part := range strings.SplitSeq(unquoted(value), ",") {
			// A part of a list is a challenge, or another parameter of the last one.
			word, _, _ := strings.Cut(strings.TrimSpace(part), " ")
			if len(schemes) < maxSchemes && len(word) <= 32 && httpguts.ValidHeaderFieldName(word) && !slices.Contains(schemes, word) {
				schemes = append(schemes, word)
			}
		}
	}
	return schemes
}

// unquoted returns value without its quoted strings.
func unquoted(value string) string {
	var b strings.Builder
	for i, part := range strings.Split(value, `"`) {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// proxiedTransport sends requests for http:// URLs to an upstream proxy, with the whole
// URL. It connects to proxies alone, so that no client can make it connect elsewhere.
type proxiedTransport struct{ *http.Transport }

func newProxiedTransport(d *dialer) proxiedTransport {
	t := newTransport(d, Window)
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		via, err := d.proxyFor(r.URL)
		if err == nil && via == nil {
			err = message.Errorf("no upstream proxy is for the request")
		}
		return via, err
	}
	t.DialContext = contained(func(ctx context.Context, _, address string) (net.Conn, error) {
		return d.dialProxy(ctx, &url.URL{Scheme: "http", Host: address})
	})
	t.DialTLSContext = contained(func(ctx context.Context, _, address string) (net.Conn, error) {
		return d.dialProxy(ctx, &url.URL{Scheme: "https", Host: address})
	})
	return proxiedTransport{t}
}

// roundTrip sends r to via. Its errors are [*ProxyError]s, also that of a 407, which is
// for this program and not for the client.
func (t proxiedTransport) roundTrip(r *http.Request, via *url.URL) (*http.Response, error) {
	if r.URL.Opaque != "" {
		// http.Transport makes a whole URL of all but opaque ones.
		r.URL.Opaque = "//" + r.Host + r.URL.Opaque
	}
	response, err := t.RoundTrip(r)
	switch _, known := errors.AsType[*ProxyError](err); {
	case known:
		return nil, err
	case err != nil:
		return nil, atProxy(via, err)
	case response.StatusCode == http.StatusProxyAuthRequired:
		response.Body.Close()
		return nil, atProxy(via, refusedByProxy(response, via))
	}
	return response, nil
}
