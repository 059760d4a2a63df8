package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestEchoedCredential: a server that sends back what it was sent does not get
// it to the client, but in the body, which is not looked at.
func TestEchoedCredential(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			value := r.Header.Get("Authorization")
			h := w.Header()
			h.Set("Link", "</"+proxytest.AccessToken+">; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			h.Del("Link")
			h["X-Echo"] = []string{"harmless", value}
			h.Set("Set-Cookie", "a="+proxytest.AccessToken+"; Path=/")
			h.Set("X-"+proxytest.AccessToken, "a name")
			h.Set("Trailer", "X-Trailer, X-Kept, X-"+proxytest.AccessToken)
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, value)
			h.Set("X-Trailer", proxytest.AccessToken)
			h.Set("X-Kept", "kept")
			h.Set(http.TrailerPrefix+"X-Unannounced", value)
		})
		p := startProxy(t, backend.Listener.Addr().String())
		var mu sync.Mutex
		var seen strings.Builder
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&seen, code, h)
			return nil
		}}))
		res := proxytest.Do(t, p.client(t, client), r)
		announced := fmt.Sprint(res.Trailer)
		body := proxytest.ReadAll(t, res.Body)
		mu.Lock()
		fmt.Fprintln(&seen, res.Header, announced, res.Trailer)
		all := seen.String()
		mu.Unlock()
		if strings.Contains(strings.ToLower(all), proxytest.AccessToken) {
			t.Errorf("the client got %s", all)
		}
		if body != "Bearer "+proxytest.AccessToken {
			t.Errorf("the body was changed to %q", body)
		}
		for _, want := range []string{
			"103 map[Link:[" + credential.Redacted + "]]", "X-Echo:[harmless " + credential.Redacted + "]", "Set-Cookie:[" + credential.Redacted + "]",
			"X-Trailer:[" + credential.Redacted + "]", "X-Unannounced:[" + credential.Redacted + "]", "X-Kept:[kept]",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("no %s in %s", want, all)
			}
		}
		p.logged(t, `"header":"X-Echo"`, `"header":"Set-Cookie"`, `"header":"X-Trailer"`, `"header":"Link"`, `"host":"chatgpt.com:443"`)
		if strings.Contains(strings.ToLower(p.log.String()), proxytest.AccessToken) {
			t.Errorf("the log shows it: %s", p.log)
		}
	})
}

// TestEchoedFormerCredential: that it was refused does not make a credential
// public.
func TestEchoedFormerCredential(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Former", proxytest.AccessToken)
		w.Header().Set("X-Echo", renewedToken)
		if r.Header.Get("Authorization") != "Bearer "+renewedToken {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = renewing{} })
	res := proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/")
	if former, echo := res.Header.Get("X-Former"), res.Header.Get("X-Echo"); res.StatusCode != http.StatusOK || former != credential.Redacted || echo != credential.Redacted {
		t.Errorf("%s, X-Former: %s, X-Echo: %s", res.Status, former, echo)
	}
}

// TestEchoedInBrokenAnswer: an answer that makes no sense is told of, but not
// word for word.
func TestEchoedInBrokenAnswer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no status line":    "Bearer " + proxytest.AccessToken + "\r\n\r\n",
		"no colon":          "HTTP/1.1 200 OK\r\nBearer " + proxytest.AccessToken + "\r\n\r\n",
		"bad status":        "HTTP/1.1 " + proxytest.AccessToken + " OK\r\n\r\n",
		"bad length":        "HTTP/1.1 200 OK\r\nContent-Length: " + proxytest.AccessToken + "\r\n\r\n",
		"odd coding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + proxytest.AccessToken + "\r\n\r\n",
		"unasked upgrade":   "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: " + proxytest.AccessToken + "\r\n\r\n",
		"name with a space": "HTTP/1.1 200 OK\r\nBearer " + proxytest.AccessToken + ": x\r\n\r\n",
		"trailer":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nBearer " + proxytest.AccessToken + "\r\n\r\n",
		"unasked answer":    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nBearer " + proxytest.AccessToken + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				if _, err := proxytest.RequestHead(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, answer)
				}
			})
			p := startProxy(t, addr)
			c := p.intercepted(t, "http/1.1")
			c.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: close\r\n\r\n")
			got, _ := io.ReadAll(c) // it may be cut
			p.logged(t, `"kind":"request"`)
			for where, text := range map[string]string{"the client": string(got), "the log": p.log.String()} {
				if strings.Contains(strings.ToLower(text), proxytest.AccessToken) {
					t.Errorf("%s was told %s", where, text)
				}
			}
		})
	}
}

func TestEchoedByUpgrade(t *testing.T) {
	t.Parallel()
	addr := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		if _, err := proxytest.RequestHead(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 "+proxytest.AccessToken+"\r\nConnection: Upgrade\r\nUpgrade: test\r\nX-Echo: Bearer "+proxytest.AccessToken+"\r\n\r\n"+proxytest.AccessToken)
		}
	})
	p := startProxy(t, addr)
	c := p.intercepted(t, "http/1.1")
	c.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	head, err := proxytest.RequestHead(c.R)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(head, "\n"); strings.Contains(all, proxytest.AccessToken) || !strings.Contains(all, "X-Echo: "+credential.Redacted) || !strings.HasPrefix(all, "HTTP/1.1 101 ") {
		t.Errorf("the client got %s", all)
	}
	c.Expect(t, proxytest.AccessToken) // as in a body
}

// TestOwnCredentialIsNotRedacted: what the client sent itself may come back.
func TestOwnCredentialIsNotRedacted(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Echo", r.Header.Get("Authorization")) })
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Signer = proxytest.FixedSigner{Auth: &signer.Authorization{Scheme: signer.SchemeNone, PassThrough: true}}
	})
	r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
	r.Header.Set("Authorization", "Bearer the-client's-own-credential")
	if got := proxytest.Do(t, p.client(t, proxytest.H1), r).Header.Get("X-Echo"); got != r.Header.Get("Authorization") {
		t.Errorf("X-Echo: %s", got)
	}
}

// A token so short that it may stand in any text is looked for by itself alone.
func TestShortCredential(t *testing.T) {
	t.Parallel()
	log := zerolog.Nop()
	x := &exchange{policy: &policy{Config: Config{Log: log}}, signing: signing{auth: &signer.Authorization{Value: "Bearer ab"}}}
	h := http.Header{"A": {"ab"}, "B": {"Bearer ab"}, "C": {"crab"}, "Ab": {""}}
	x.Redact(h)
	if got := fmt.Sprint(h); got != "map[A:["+credential.Redacted+"] Ab:[] B:["+credential.Redacted+"] C:[crab]]" {
		t.Error(got)
	}
}

// BenchmarkRedact looks through the header of a usual answer.
func BenchmarkRedact(b *testing.B) {
	log := zerolog.Nop()
	h := http.Header{}
	for i := range 25 {
		h[fmt.Sprintf("X-Header-%d", i)] = []string{strings.Repeat("v", 10+8*i)}
	}
	for _, size := range []int{20, 1500} {
		b.Run(fmt.Sprintf("token of %d", size), func(b *testing.B) {
			token := identity.Secret(strings.Repeat("t", size))
			x := &exchange{policy: &policy{Config: Config{Log: log}}, signing: signing{auth: &signer.Authorization{Value: "Bearer " + token}}}
			b.ReportAllocs()
			for b.Loop() {
				x.Redact(h)
			}
		})
	}
}
