package upstream

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// Config says how servers are reached.
type Config struct {
	// ConnectTo maps host:port to the host:port that is dialled in its place,
	// as curl --connect-to does. The server must still prove to be the former.
	// A host may be a pattern such as "*.chatgpt.com"; the exact name wins.
	ConnectTo map[string]string
	// RootCAs returns the certificates that verify servers. nil: the system's do. It is
	// called by each handshake: to read them takes milliseconds, which a command that
	// connects to no server need not wait for.
	RootCAs func() *x509.CertPool
	// Proxy is the proxy that servers are reached through: http, https, socks5 or
	// socks5h. The last two are the same: the proxy resolves names. nil: none, or the one
	// that ProxyByURL chooses.
	Proxy *url.URL
	// ProxyByURL chooses the proxy as the variables HTTPS_PROXY and NO_PROXY do.
	ProxyByURL httpproxy.Config
	// AllowPrivate lists addresses that may be dialled although they are not
	// on the public Internet.
	AllowPrivate []netip.Prefix
	// PingAfter is how long a server may send nothing over HTTP/2 before it is pinged, so that a
	// connection that is dead is found out. 0: [DefaultPingAfter]; a negative one is for ever.
	PingAfter time.Duration
	// DialTimeout bounds the time until a connection is made, including name resolution and
	// the upstream proxy, and that of the TLS handshake after it. 0: [DefaultDialTimeout].
	DialTimeout time.Duration
	// Turns are those in which responses over HTTP/2 are read while much comes on a connection.
	// nil: there are none. Equal does not compare them.
	Turns *track.Turns
	// Dial connects to address. It must keep the Control of the dialer that it is given.
	// nil: by.DialContext. Equal does not compare it.
	Dial func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error)
}

// DefaultPingAfter is that of Config.PingAfter.
const DefaultPingAfter = 15 * time.Second

// DefaultDialTimeout is that of Config.DialTimeout.
const DefaultDialTimeout = 10 * time.Second

// CheckConnectTo returns an error if there is a mistake in ConnectTo.
func (c Config) CheckConnectTo() error {
	for from, to := range c.ConnectTo {
		pattern, err := hosts.ParsePattern(from)
		if err != nil {
			return err
		}
		if !pattern.HasPort() {
			return fmt.Errorf("%q has no port; write it as %s", from, net.JoinHostPort(from, "443"))
		}
		if _, err := hosts.ParseTarget(to); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	return nil
}

// Route returns the address that is dialled for requests to u in place of its host: that
// of connect_to or of the upstream proxy.
func (c Config) Route(u *url.URL) (address string, ok bool) {
	if to, ok := newRoutes(c.ConnectTo).find(hostPort(u)); ok {
		return to, true
	}
	via, err := c.proxyFunc()(u)
	if err != nil || via == nil {
		return "", false
	}
	return hostPort(via), true
}

// proxyFunc returns the function that chooses the proxy for a URL, nil for none.
func (c Config) proxyFunc() func(*url.URL) (*url.URL, error) {
	if c.Proxy != nil {
		return func(*url.URL) (*url.URL, error) { return c.Proxy, nil }
	}
	return c.ProxyByURL.ProxyFunc()
}

// Equal reports whether both configurations reach servers in the same way.
func (c Config) Equal(other Config) bool {
	sameProxy := c.Proxy == other.Proxy || c.Proxy != nil && other.Proxy != nil && c.Proxy.String() == other.Proxy.String()
	return sameProxy && c.PingAfter == other.PingAfter && c.DialTimeout == other.DialTimeout && c.ProxyByURL == other.ProxyByURL && sameRoots(c.RootCAs, other.RootCAs) &&
		maps.Equal(c.ConnectTo, other.ConnectTo) && slices.Equal(c.AllowPrivate, other.AllowPrivate)
}

func sameRoots(a, b func() *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a().Equal(b())
}

// dialer makes the connections to servers.
type dialer struct {
	config  Config
	timeout time.Duration // see Config.DialTimeout
	// patience is that of sharedDials.
	patience time.Duration
	routes   routes
	proxy    func(*url.URL) (*url.URL, error)
	// guarded refuses private addresses. It checks the very address that it connects to,
	// so that a second answer of the name server cannot differ.
	guarded net.Dialer
	// proven is guarded for servers that prove by TLS who they are. A fake address leads
	// to them or to nobody.
	proven net.Dialer
	// trusted dials what the configuration names.
	trusted net.Dialer
	// own is refused even if the configuration names it.
	own        *OwnListeners
	interfaces func() ([]net.Addr, error) // of this machine
	paths      *deadPaths
}

func newDialer(config Config, own *OwnListeners) *dialer {
	d := &dialer{config: config, timeout: cmp.Or(config.DialTimeout, DefaultDialTimeout), patience: sharePatience, routes: newRoutes(config.ConnectTo), own: own, interfaces: net.InterfaceAddrs, proxy: config.proxyFunc(), paths: newDeadPaths()}
	d.trusted = net.Dialer{Timeout: d.timeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
	}}
	d.guarded, d.proven = d.trusted, d.trusted
	d.trusted.Control = d.control(func(netip.Addr) error { return nil })
	d.guarded.Control = d.control(d.checkPublic)
	d.proven.Control = d.control(d.checkProven)
	return d
}

// control returns a [net.Dialer.Control] that refuses the listeners of the program
// itself and the addresses for which check returns an error.
func (d *dialer) control(check func(netip.Addr) error) func(string, string, syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return message.Errorf("address %q: %w", address, err)
		}
		if err := d.own.check(addr); err != nil {
			return err
		}
		return check(addr.Addr())
	}
}

// checkPublic returns an error for an address that is neither public nor allowed.
func (d *dialer) checkPublic(addr netip.Addr) error {
	if containsAddr(d.config.AllowPrivate, addr.Unmap()) {
		return nil
	}
	return checkPublic(addr, d.interfaces)
}

// checkProven is checkPublic for servers that must prove by TLS who they are.
func (d *dialer) checkProven(addr netip.Addr) error {
	if isFakeIP(addr) {
		return nil
	}
	return d.checkPublic(addr)
}

// dial connects to the server at address (host:port): to what connect_to has for it,
// through the upstream proxy for URLs of the scheme, or directly.
func (d *dialer) dial(ctx context.Context, by *net.Dialer, scheme, address string) (net.Conn, error) {
	if to, ok := d.routes.find(address); ok {
		return d.connect(ctx, &d.trusted, to)
	}
	via, err := d.proxyFor(&url.URL{Scheme: scheme, Host: address})
	if err != nil {
		return nil, err
	}
	if via != nil {
		return d.dialThrough(ctx, via, address)
	}
	return d.connect(ctx, by, address)
}

// connect connects to address itself.
func (d *dialer) connect(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
	dial := d.config.Dial
	if dial == nil {
		dial = dialTCP
	}
	conn, err := dial(ctx, by, address)
	if err != nil {
		return nil, err
	}
	d.paths.watch(conn)
	return conn, nil
}

func dialTCP(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
	return by.DialContext(ctx, "tcp", address)
}

// DialTunnel connects to t for a tunnel.
func (d *dialer) DialTunnel(ctx context.Context, t hosts.Target) (net.Conn, error) {
	return d.dial(ctx, &d.guarded, "https", t.Authority())
}

// dialPlain connects to the server of an http:// URL.
func (d *dialer) dialPlain(ctx context.Context, _, address string) (net.Conn, error) {
	return d.dial(ctx, &d.guarded, "http", address)
}

// dialProven connects to the server of an https:// URL, for a TLS handshake.
func (d *dialer) dialProven(ctx context.Context, _, address string) (net.Conn, error) {
	return d.dial(ctx, &d.proven, "https", address)
}

// hostPort returns the host:port of a URL.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme])
}
