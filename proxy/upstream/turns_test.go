package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// TestResponsesTakeTurns reads a large response while somebody else has a turn for long, which
// ends as soon as another waits for one.
func TestResponsesTakeTurns(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = w.Write(make([]byte, size))
		}
	})
	turns := track.NewTurns(1)
	transports := newTransports(newDialer(Config{
		ConnectTo: map[string]string{proxytest.Host + ":443": backend.Listener.Addr().String()},
		RootCAs:   func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
		Turns:     turns,
	}, new(OwnListeners)))
	defer transports.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), proxytest.Patience)
	defer cancel()
	get := func(path string) (n int64) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, proxytest.Origin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.ProtoMajor = 2
		res, err := transports.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err = io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var other track.Turn
	turns.Begin(&other, track.Key{Kind: track.Label})
	if get("/small"); turns.Taken() != 1 {
		t.Error("a small one waits for a turn")
	}
	if n := get("/large"); n != size {
		t.Errorf("%d bytes", n)
	}
	proxytest.Eventually(t, func() error {
		if n := turns.Taken(); n != 0 {
			return fmt.Errorf("%d turns are taken", n)
		}
		return nil
	})
}

// TestUpgradesTakeNoTurns looks at the connection of an upgrade, which is read without waiting.
func TestUpgradesTakeNoTurns(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(http.ResponseWriter, *http.Request) {})
	transports := newTransports(newDialer(Config{
		ConnectTo: map[string]string{proxytest.Host + ":443": backend.Listener.Addr().String()},
		RootCAs:   func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
		Turns:     track.NewTurns(1),
	}, new(OwnListeners)))
	defer transports.CloseIdleConnections()
	var conn net.Conn
	r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn }}))
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	res, err := transports.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if below := conn.(*tls.Conn).NetConn(); !isSocket(below) {
		t.Errorf("it is a %T", below)
	}
}

func isSocket(conn net.Conn) bool {
	_, ok := conn.(*netconn.Socket)
	return ok || !netconn.CanProbe
}
