package proxy

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// brokenLeaves are leaves of which one panics.
type brokenLeaves struct{ Leaves }

func (l brokenLeaves) Leaf(host string) (*tls.Certificate, error) {
	if host == "broken."+proxytest.Host {
		panic("no leaf")
	}
	return l.Leaves.Leaf(host)
}

// TestPanicEndsOneConnection has the program make a mistake on the goroutines of a connection,
// which ends that one alone, and is an error in the log.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address, func(c *Config) {
		c.Leaves = brokenLeaves{c.Leaves}
		c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
			if r.Path == "/panic" {
				panic("no signature")
			}
			return proxytest.Bearer(), nil
		})
	})
	innocent := p.intercepted(t)
	ask := func() {
		t.Helper()
		innocent.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
		if res := innocent.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		} else {
			proxytest.ReadAll(t, res.Body)
		}
	}
	ask()
	c := p.connect(t, "broken."+proxytest.Host+":443")
	if err := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	ask()
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		if res, err := p.client(t, proto).Get(proxytest.Origin + "/panic"); err == nil {
			res.Body.Close()
			t.Errorf("%s: answered", proto)
		}
	}
	ask()
	p.logged(t, `"level":"error","from":"net/http","message":"http: panic serving`, "no leaf", "no signature",
		`"level":"error","from":"net/http","message":"http2: panic serving`)
}

// TestPanicReadingBody has the reading of a request's body panic, as it may on the goroutine of
// a transport.
func TestPanicReadingBody(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	defer p.cutNow()
	b := &outgoingBody{body: readerFunc(func([]byte) (int, error) { panic("no body") }), x: &exchange{policy: p.current()}}
	if n, err := b.Read(make([]byte, 5)); n != 0 || !errors.Is(err, errBodyPanic) {
		t.Errorf("%d, %v", n, err)
	}
	if log := p.log.String(); !strings.Contains(log, `"level":"error"`) || !strings.Contains(log, "no body") {
		t.Error(log)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
