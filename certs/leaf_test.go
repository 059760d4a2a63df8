package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

func leaf(t testing.TB, a *certs.Authority, host string) *tls.Certificate {
	t.Helper()
	leaf, err := a.Leaf(host)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// clock is a time that a test sets.
type clock struct{ now time.Time }

func (c *clock) time() time.Time { return c.now }

func TestLeaf(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	chain := leaf(t, a, "ChatGPT.com")
	got := chain.Leaf
	if len(chain.Certificate) != 2 || !slices.Equal(chain.Certificate[0], got.Raw) || issuer(t, a).Equal(a.Certificate()) {
		t.Errorf("%d certificates, want the leaf and its issuer", len(chain.Certificate))
	}
	if err := verify(t, a.PEM(), a, "chatgpt.com"); err != nil {
		t.Error(err)
	}
	if !slices.Equal(got.DNSNames, []string{"chatgpt.com"}) || len(got.IPAddresses)+len(got.EmailAddresses)+len(got.URIs) > 0 {
		t.Errorf("names %q and others", got.DNSNames)
	}
	if !slices.Equal(got.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || got.IsCA {
		t.Errorf("extended key usage %v, CA %v", got.ExtKeyUsage, got.IsCA)
	}
	if key, ok := got.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() || key.Equal(a.Certificate().PublicKey) {
		t.Error("not an ECDSA P-256 key of its own")
	}
	if other := leaf(t, a, "ab.chatgpt.com"); !got.PublicKey.(*ecdsa.PublicKey).Equal(other.Leaf.PublicKey) {
		t.Error("two leaves, two keys")
	}
	if leaf(t, a, "chatgpt.com") != chain {
		t.Error("not cached")
	}
}

func TestLeafRefusals(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	for _, host := range []string{
		"example.com", "openai.com", "evilchatgpt.com", "chatgpt.com.evil.com", "com", "",
		"chatgpt.com.", ".chatgpt.com", "*.chatgpt.com", "chatgpt.com:443", "chatgpt.com\x00", "a..chatgpt.com",
		"-.chatgpt.com", "127.0.0.1", "::1", "[::1]", "chatgpt.com@evil.com", "ä.chatgpt.com",
		strings.Repeat("a", 64) + ".chatgpt.com", strings.Repeat("a.", 130) + "chatgpt.com",
	} {
		if _, err := a.Leaf(host); a.Covers(host) || err == nil || !strings.Contains(err.Error(), "agentproxy ca rotate") {
			t.Errorf("%q: covered %v, error %v", host, a.Covers(host), err)
		}
	}
	for _, host := range []string{"chatgpt.com", "CHATGPT.COM", "a.b.chatgpt.com", "chat.openai.com", "x_y.chatgpt.com", "xn--4ca.chatgpt.com"} {
		if !a.Covers(host) {
			t.Errorf("%q is not covered", host)
		}
		leaf(t, a, host)
	}
}

func TestLeafRenewal(t *testing.T) {
	t.Parallel()
	start := time.Now().UTC().Truncate(time.Second)
	clock := &clock{start}
	cfg := config(t)
	cfg.Now = clock.time
	a := open(t, cfg)
	first := leaf(t, a, "chatgpt.com")
	if got := first.Leaf.NotBefore; !got.Equal(start.Add(-time.Hour)) {
		t.Errorf("valid from %v, want an hour before %v", got, start)
	}
	if got := first.Leaf.NotAfter; !got.Equal(start.Add(7 * 24 * time.Hour)) {
		t.Errorf("valid until %v, want seven days after %v", got, start)
	}
	for _, test := range []struct {
		now     time.Time
		renewed bool
	}{
		{start.Add(6 * 24 * time.Hour), false},
		{start.Add(6*24*time.Hour + time.Nanosecond), true},
		{start.Add(30 * 24 * time.Hour), true},
		{start.Add(-time.Hour), false},
	} {
		clock.now = start
		a = open(t, cfg)
		first = leaf(t, a, "chatgpt.com")
		clock.now = test.now
		second := leaf(t, a, "chatgpt.com")
		if renewed := first != second; renewed != test.renewed {
			t.Errorf("after %v: renewed %v, want %v", test.now.Sub(start), renewed, test.renewed)
		}
		if test.now.After(second.Leaf.NotAfter) || test.now.Before(second.Leaf.NotBefore) {
			t.Errorf("after %v: served a leaf valid from %v until %v", test.now.Sub(start), second.Leaf.NotBefore, second.Leaf.NotAfter)
		}
	}
}

func TestLeafEndsWithAuthority(t *testing.T) {
	t.Parallel()
	clock := &clock{time.Now()}
	cfg := config(t)
	cfg.Now = clock.time
	a := open(t, cfg)
	end := a.Certificate().NotAfter
	clock.now = end.Add(-2 * time.Hour)
	last := leaf(t, a, "chatgpt.com")
	if !last.Leaf.NotAfter.Equal(end) {
		t.Errorf("the leaf ends %v, the CA %v", last.Leaf.NotAfter, end)
	}
	clock.now = end
	if leaf(t, a, "chatgpt.com") != last {
		t.Error("the last leaf was made again, though it cannot last longer")
	}
	clock.now = end.Add(time.Nanosecond)
	if _, err := a.Leaf("chatgpt.com"); err == nil || !strings.Contains(err.Error(), "expired") || !strings.Contains(err.Error(), "agentproxy ca rotate") {
		t.Errorf("error %v", err)
	}
}

func TestLeafSignedOnce(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	const hosts, callers = 40, 8
	var mu sync.Mutex
	serials := make(map[string]map[string]bool)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range hosts {
				host := fmt.Sprintf("h%d.chatgpt.com", i)
				leaf, err := a.Leaf(host)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if serials[host] == nil {
					serials[host] = make(map[string]bool)
				}
				serials[host][leaf.Leaf.SerialNumber.String()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for host, seen := range serials {
		if len(seen) != 1 {
			t.Errorf("%s was signed %d times", host, len(seen))
		}
	}
	if len(serials) != hosts {
		t.Errorf("%d hosts, want %d", len(serials), hosts)
	}
}

func TestLeafCacheIsBounded(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	const hosts = certs.MaxLeaves + 10
	for i := range hosts {
		leaf(t, a, fmt.Sprintf("h%d.chatgpt.com", i))
	}
	if got := a.CachedLeaves(); got != certs.MaxLeaves {
		t.Errorf("%d leaves are kept, want %d", got, certs.MaxLeaves)
	}
}

// A server with such a leaf, and crypto/tls as the client.
func TestHandshake(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("PEM holds no certificate")
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return a.Leaf(hello.ServerName)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.(*tls.Conn).Handshake()
			}()
		}
	}()
	for host, ok := range map[string]bool{"chatgpt.com": true, "ab.chatgpt.com": true, "chat.openai.com": true, "example.com": false} {
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: host, RootCAs: roots})
		if (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func BenchmarkLeafCached(b *testing.B) {
	a := open(b, config(b))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Leaf("chatgpt.com"); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkLeafSign(b *testing.B) {
	a := open(b, config(b))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		leaf(b, a, fmt.Sprintf("h%d.chatgpt.com", i))
	}
}
