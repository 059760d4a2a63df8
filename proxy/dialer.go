package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// UpstreamConfig says how servers are reached.
type UpstreamConfig struct {
	// ConnectTo maps host:port to the host:port that is dialled in its place,
	// as curl --connect-to does. The server must still prove to be the former.
	// A host may be a pattern such as "*.chatgpt.com"; the exact name wins.
	ConnectTo map[string]string
	// RootCAs verify servers. nil: the system's.
	RootCAs *x509.CertPool
	// Proxy is the proxy that servers are reached through. nil: none, or what
	// ProxyByURL says.
	Proxy *url.URL
	// ProxyByURL chooses the proxy as the variables HTTPS_PROXY and NO_PROXY do.
	ProxyByURL httpproxy.Config
	// AllowPrivate lists addresses that may be dialled although they are not
	// on the public Internet.
	AllowPrivate []netip.Prefix
}

// CheckConnectTo reports a mistake in ConnectTo.
func (c UpstreamConfig) CheckConnectTo() error {
	for from, to := range c.ConnectTo {
		pattern, err := ParseHostPattern(from)
		if err != nil {
			return err
		}
		if pattern.port == "" {
			return fmt.Errorf("%q has no port; write it as %s", from, net.JoinHostPort(from, "443"))
		}
		if _, err := parseTarget(to); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	return nil
}

// connectTo returns what is dialled in place of address.
func (c UpstreamConfig) connectTo(address string) (string, bool) {
	if to, ok := c.ConnectTo[address]; ok {
		return to, true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	// The longest pattern wins: "*.a.example" over "*.example".
	var best, found string
	for from, to := range c.ConnectTo {
		if pattern, err := ParseHostPattern(from); err == nil && len(from) > len(best) && pattern.Match(host, port) {
			best, found = from, to
		}
	}
	return found, best != ""
}

// Route returns what is dialled for requests to u in place of its host: the
// address of connect_to or of the upstream proxy.
func (c UpstreamConfig) Route(u *url.URL) (address string, ok bool) {
	if to, ok := c.connectTo(hostPort(u)); ok {
		return to, true
	}
	via, err := c.proxyFunc()(u)
	if err != nil || via == nil {
		return "", false
	}
	return hostPort(via), true
}

// proxyFunc returns what chooses the proxy for a URL, nil for none.
func (c UpstreamConfig) proxyFunc() func(*url.URL) (*url.URL, error) {
	if c.Proxy != nil {
		return func(*url.URL) (*url.URL, error) { return c.Proxy, nil }
	}
	return c.ProxyByURL.ProxyFunc()
}

// Equal reports whether servers are reached in the same way.
func (c UpstreamConfig) Equal(other UpstreamConfig) bool {
	sameProxy := c.Proxy == other.Proxy || c.Proxy != nil && other.Proxy != nil && c.Proxy.String() == other.Proxy.String()
	return sameProxy && c.ProxyByURL == other.ProxyByURL && c.RootCAs.Equal(other.RootCAs) &&
		maps.Equal(c.ConnectTo, other.ConnectTo) && slices.Equal(c.AllowPrivate, other.AllowPrivate)
}

// dialTimeout bounds the way to a connected socket, name resolution included.
const dialTimeout = 10 * time.Second

// dialer makes the connections to servers, for tunnels and intercepted
// requests alike, so that both are under the same rules.
type dialer struct {
	config UpstreamConfig
	proxy  func(*url.URL) (*url.URL, error)
	// guarded refuses private addresses, after name resolution: whatever a name
	// resolves to is checked on the very address that is then connected to, so
	// that a second answer of the name server cannot differ.
	guarded net.Dialer
	// trusted dials what the configuration itself names.
	trusted net.Dialer
	// own is refused even where the configuration names it.
	own *ownListeners
	// proxies holds the addresses of upstream proxies that were chosen, for
	// http.Transport dials them by address alone.
	proxies sync.Map
	paths   *pathWatch
}

func newDialer(config UpstreamConfig, own *ownListeners) *dialer {
	d := &dialer{config: config, own: own, proxy: config.proxyFunc(), paths: newPathWatch()}
	d.trusted = net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
	}}
	d.guarded = d.trusted
	d.trusted.Control = func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %q: %w", address, err)
		}
		return d.own.check(addr)
	}
	d.guarded.Control = func(network, address string, c syscall.RawConn) error {
		if err := d.trusted.Control(network, address, c); err != nil {
			return err
		}
		return d.checkPublic(netip.MustParseAddrPort(address).Addr())
	}
	return d
}

// checkPublic refuses an address that is neither public nor allowed.
func (d *dialer) checkPublic(addr netip.Addr) error {
	if isPrivate(addr) && !containsAddr(d.config.AllowPrivate, addr.Unmap()) {
		return &privateAddressError{addr.Unmap()}
	}
	return nil
}

// dial connects to address (host:port), or to what stands for it.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if to, ok := d.config.connectTo(address); ok {
		return d.connect(ctx, &d.trusted, network, to)
	}
	return d.connect(ctx, &d.guarded, network, address)
}

// connect connects to address itself.
func (d *dialer) connect(ctx context.Context, by *net.Dialer, network, address string) (net.Conn, error) {
	conn, err := by.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.paths.watch(conn)
	return conn, nil
}

// proxyFor returns the upstream proxy for requests to u.
func (d *dialer) proxyFor(u *url.URL) (*url.URL, error) {
	if _, ok := d.config.connectTo(hostPort(u)); ok {
		return nil, nil
	}
	via, err := d.proxy(u)
	if via == nil || err != nil {
		return via, err
	}
	// Names are resolved by that proxy, but an address is one already, and the
	// proxy may be on this machine.
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := d.checkPublic(addr); err != nil {
			return nil, err
		}
	}
	d.proxies.Store(hostPort(via), struct{}{})
	return via, nil
}

// dialTransport is dial for an http.Transport, which also dials the upstream
// proxy with it.
func (d *dialer) dialTransport(ctx context.Context, network, address string) (net.Conn, error) {
	if _, ok := d.proxies.Load(address); ok {
		return d.connect(ctx, &d.trusted, network, address)
	}
	return d.dial(ctx, network, address)
}

// dialTunnel connects to t for a tunnel, through the upstream proxy if there
// is one.
func (d *dialer) dialTunnel(ctx context.Context, t target) (net.Conn, error) {
	via, err := d.proxyFor(&url.URL{Scheme: "https", Host: t.authority()})
	if err != nil {
		return nil, err
	}
	if via == nil {
		return d.dial(ctx, "tcp", t.authority())
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.dialProxy(ctx, via)
	if err != nil {
		return nil, fmt.Errorf("upstream proxy %s: %w", via.Redacted(), err)
	}
	tunnel, err := connectThrough(ctx, conn, via, t)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("upstream proxy %s: %w", via.Redacted(), err)
	}
	return tunnel, nil
}

func (d *dialer) dialProxy(ctx context.Context, via *url.URL) (net.Conn, error) {
	conn, err := d.connect(ctx, &d.trusted, "tcp", hostPort(via))
	if err != nil || via.Scheme == "http" {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    d.config.RootCAs,
		ServerName: via.Hostname(),
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// connectThrough asks the proxy at the other end of conn for a tunnel to t.
// What the server says first may arrive together with the proxy's answer (an
// SSH server speaks unasked), so what was read too far is replayed.
func connectThrough(ctx context.Context, conn net.Conn, via *url.URL, t target) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: t.authority()},
		Host:   t.authority(),
		Header: http.Header{},
	}
	request.Header["User-Agent"] = nil
	if user := via.User; user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(conn)
	response, err := http.ReadResponse(buffered, request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it refused CONNECT %s with %q", t.authority(), response.Status)
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return withReplay(conn, buffered), nil
}

// errIsPrivate returns the refusal inside err, if that is what it is.
func errIsPrivate(err error) (*privateAddressError, bool) {
	return errors.AsType[*privateAddressError](err)
}
