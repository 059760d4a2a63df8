package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// crowd is many requests that begin at once, while no connection is there.
type crowd struct {
	patience time.Duration // see sharedDials
	handler  http.HandlerFunc
	proto    string
	// dial makes the nth connection, from 0 on, when all requests wait for one.
	dial func(n int64, dial func() (net.Conn, error)) (net.Conn, error)
}

const (
	crowdSize = 40
	crowdBody = "a body that is not held"
)

// noMemory is a budget.
type noMemory struct{}

func (noMemory) Take(int64) bool { return false }
func (noMemory) Give(int64)      {}

// ask sends the requests, as many times one after another as rounds says, and returns how many
// connections were made and how many requests failed.
func (c crowd) ask(t *testing.T, rounds int) (dials, failed int64) {
	t.Helper()
	backend := proxytest.NewBackend(t, c.proto, func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != crowdBody {
			t.Errorf("%q %v", body, err)
		}
		if c.handler != nil {
			c.handler(w, r)
		}
	})
	var made, waiting, failures atomic.Int64
	all := make(chan struct{})
	d := newDialer(Config{
		ConnectTo:   map[string]string{proxytest.Host + ":443": backend.Listener.Addr().String()},
		RootCAs:     func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
		DialTimeout: proxytest.Patience,
		Dial: func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
			n := made.Add(1) - 1
			<-all
			dial := func() (net.Conn, error) { return dialTCP(ctx, by, address) }
			if c.dial != nil {
				return c.dial(n, dial)
			}
			return dial()
		},
	}, new(OwnListeners))
	d.patience = c.patience
	transport := newSharing(d, Window)
	defer transport.CloseIdleConnections()
	ask := func() {
		var connecting Connecting
		defer connecting.End()
		trace := &httptrace.ClientTrace{ConnectStart: func(string, string) {
			if waiting.Add(1) == crowdSize {
				close(all)
			}
		}}
		connecting.Trace(trace)
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(WithConnecting(t.Context(), &connecting), trace), http.MethodPost, proxytest.Origin, strings.NewReader(crowdBody))
		if err != nil {
			panic(err)
		}
		r.GetBody = nil // but for what is held
		defer message.Hold(r, 0, noMemory{}, nil).Forget()
		res, err := transport.RoundTrip(r)
		if err != nil {
			failures.Add(1)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	for range rounds {
		var asked sync.WaitGroup
		for range crowdSize {
			asked.Go(ask)
		}
		asked.Wait()
	}
	return made.Load(), failures.Load()
}

// TestSharedDials has many requests begin at once. Over HTTP/2 they share one connection.
func TestSharedDials(t *testing.T) {
	t.Parallel()
	dials, failed := crowd{patience: time.Hour, proto: proxytest.H2}.ask(t, 1)
	if dials != 1 || failed > 0 {
		t.Errorf("%d connections were made, and %d requests failed", dials, failed)
	}
}

// TestUnsharedDials has the connection that all wait for be of HTTP/1.1, or fail: each request
// has one of its own then, and all are made at once. The next time none waits for another's.
func TestUnsharedDials(t *testing.T) {
	t.Parallel()
	var arrived, dialling sync.WaitGroup
	arrived.Add(crowdSize)
	dialling.Add(crowdSize)
	var requests atomic.Int64
	dials, failed := crowd{patience: time.Hour, proto: proxytest.H1, handler: func(http.ResponseWriter, *http.Request) {
		if requests.Add(1) <= crowdSize {
			arrived.Done()
			arrived.Wait()
		}
	}, dial: func(n int64, dial func() (net.Conn, error)) (net.Conn, error) {
		if n >= crowdSize {
			dialling.Done()
			dialling.Wait()
		}
		return dial()
	}}.ask(t, 2)
	if dials != 2*crowdSize || failed > 0 {
		t.Errorf("HTTP/1.1: %d connections were made, and %d requests failed", dials, failed)
	}
	dials, failed = crowd{patience: time.Hour, proto: proxytest.H2, dial: func(int64, func() (net.Conn, error)) (net.Conn, error) {
		return nil, errors.New("it fails")
	}}.ask(t, 1)
	if dials != crowdSize || failed != crowdSize {
		t.Errorf("%d connections failed, and %d requests", dials, failed)
	}
}

// TestSharePatience has one connection made when all other requests are answered. They wait for
// it no longer than is said.
func TestSharePatience(t *testing.T) {
	t.Parallel()
	var others sync.WaitGroup
	others.Add(crowdSize - 1)
	var answered atomic.Int64
	_, failed := crowd{patience: time.Millisecond, proto: proxytest.H2, handler: func(http.ResponseWriter, *http.Request) {
		if answered.Add(1) < crowdSize {
			others.Done()
		}
	}, dial: func(n int64, dial func() (net.Conn, error)) (net.Conn, error) {
		if n == 0 {
			others.Wait()
		}
		return dial()
	}}.ask(t, 1)
	if failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
}

// TestPatienceAddsUp has a request that has waited long enough for others make a connection at
// once.
func TestPatienceAddsUp(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{}, 2)
	dial := newSharedDials(time.Hour).dial(func(context.Context, string, string) (net.Conn, error) {
		begun <- struct{}{}
		<-release
		return nil, errors.New("it fails")
	})
	var done sync.WaitGroup
	for _, waited := range []time.Duration{0, time.Hour} {
		connecting := new(Connecting)
		connecting.waited.Store(int64(waited))
		done.Go(func() { _, _ = dial(WithConnecting(t.Context(), connecting), "tcp", "a:443") })
		<-begun
	}
	close(release)
	done.Wait()
}

// TestNeedlessDial has a request end while it waits for another one's connection. It makes none
// afterwards.
func TestNeedlessDial(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	begun, release := make(chan struct{}), make(chan error)
	dial := newSharedDials(time.Hour).dial(func(context.Context, string, string) (net.Conn, error) {
		if made.Add(1) == 1 {
			close(begun)
		}
		return nil, <-release
	})
	var first, second Connecting
	var done sync.WaitGroup
	done.Go(func() { _, _ = dial(WithConnecting(t.Context(), &first), "tcp", "a:443") })
	<-begun
	done.Go(func() {
		if _, err := dial(WithConnecting(t.Context(), &second), "tcp", "a:443"); err != errConnected {
			t.Error(err)
		}
	})
	proxytest.Eventually(t, func() error {
		second.mu.Lock()
		defer second.mu.Unlock()
		if len(second.then) == 0 {
			return errors.New("it does not wait")
		}
		return nil
	})
	second.End()
	close(release)
	done.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	// A request that waits once more makes one.
	second.set(false)
	if _, _ = dial(WithConnecting(t.Context(), &second), "tcp", "a:443"); made.Load() != 2 {
		t.Errorf("%d connections were made", made.Load())
	}
}
