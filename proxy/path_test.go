package proxy

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// newRecorder starts an HTTP/1.1 server that answers every request with no
// content, and hands over its header as it came.
func newRecorder(t testing.TB) (address string, heads <-chan []string) {
	t.Helper()
	ch := make(chan []string, 16)
	return proxytest.NewRawTLSServer(t, func(c *tls.Conn) { proxytest.PlainRecorder(ch)(c) }), ch
}

// TestTargetBytes sends request targets that url.URL would write in another way
// than it reads them. They arrive byte for byte.
func TestTargetBytes(t *testing.T) {
	t.Parallel()
	address, heads := newRecorder(t)
	c := startProxy(t, address).intercepted(t)
	for _, test := range []struct{ target, want string }{
		{"/", "/"},
		{"/a%2Fb", "/a%2Fb"},
		{"/a%2fb%2F", "/a%2fb%2F"},
		{"/backend-api//connectors/directory/list", "/backend-api//connectors/directory/list"},
		{"//connectors", "//connectors"},
		{"/a/../b/./c", "/a/../b/./c"},
		{`/"<>^|{}\` + "`", `/"<>^|{}\` + "`"},
		{"/caf\xc3\xa9/\xff\xfe", "/caf\xc3\xa9/\xff\xfe"},
		{"/%41%7e~!$&'()*+,;=:@[]", "/%41%7e~!$&'()*+,;=:@[]"},
		{"/a;b=c", "/a;b=c"},
		{"/?", "/?"},
		{"/??", "/??"},
		{"/?a=%zz&b=%&c;d", "/?a=%zz&b=%&c;d"},
		{"/?q=a+b%20c&&=", "/?q=a+b%20c&&="},
		{`/?"<>^|{}` + "\xff", `/?"<>^|{}` + "\xff"},
		{"/?a=" + strings.Repeat("x", 8<<10), "/?a=" + strings.Repeat("x", 8<<10)},
		{"/?" + strings.Repeat("p&", 10001), "/?" + strings.Repeat("p&", 10001)},
		{proxytest.Origin + "/absolute?q", "/absolute?q"},
		{proxytest.Origin + ":443", "/"},
		{proxytest.Origin + "?q", "/?q"},
	} {
		c.Send(t, "GET %s HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", test.target)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusNoContent {
			t.Fatalf("%q: %s", test.target, res.Status)
		}
		if head := <-heads; head[0] != "GET "+test.want+" HTTP/1.1" {
			t.Errorf("%q arrived as %q", test.target, head[0])
		}
	}
	c.Send(t, "OPTIONS * HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
	if res := c.Response(t, http.MethodOptions); res.StatusCode != http.StatusNoContent {
		t.Fatalf("OPTIONS *: %s", res.Status)
	}
	if head := <-heads; head[0] != "OPTIONS * HTTP/1.1" {
		t.Errorf("OPTIONS * arrived as %q", head[0])
	}
}

// TestTargetBytesBetweenVersions does the same where HTTP/2 is on either side.
func TestTargetBytesBetweenVersions(t *testing.T) {
	t.Parallel()
	targets := []string{
		"/a%2Fb//c?", "//connectors", `/"<>^|{}`, "/caf\xc3\xa9/\xff\xfe", "/?a=%zz&b=%&c;d", "/a/../b",
		`//a"b`,
	}
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			uris := make(chan string, 1)
			backend := proxytest.NewBackend(t, proto, func(_ http.ResponseWriter, r *http.Request) { uris <- r.RequestURI })
			p := startProxy(t, backend.Listener.Addr().String())
			c := p.h2(t)
			for i, target := range targets {
				want := target
				if strings.HasPrefix(target, `//a"`) {
					want = "//a%22b" // the one that net/http cannot be made to send
				}
				c.request(t, uint32(2*i+1), ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", target)
				if status := c.status(t, uint32(2*i+1)); status != "200" {
					t.Fatalf("%q: %s", target, status)
				}
				if got := <-uris; got != want {
					t.Errorf("%q arrived as %q", target, got)
				}
			}
		})
	}
}

// TestNothingElseChanges compares a whole request with what arrives.
func TestNothingElseChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		send, want []string
	}{
		{
			"as little as can be",
			[]string{"GET / HTTP/1.1", "Host: chatgpt.com"},
			[]string{"GET / HTTP/1.1", "Host: chatgpt.com"},
		},
		{
			"headers that proxies like to touch",
			[]string{
				"GET / HTTP/1.1", "Host: CHATGPT.com:443", "User-Agent: codex/1", "Accept-Encoding: zstd;q=1, br",
				"X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 10.1.2.4", "X-Forwarded-Proto: http", "Forwarded: for=10.1.2.3",
				"Via: 1.1 mine", "Range: bytes=0-", "Cookie: a=b; c=d", "Cookie: e", "X-Empty:", "Max-Forwards: 0",
				"If-None-Match: W/\"x\"", "Cache-Control: no-cache", "Priority: u=1", "Date: today", "Warning: 199 - \"x\"",
			},
			[]string{
				"GET / HTTP/1.1", "Host: CHATGPT.com:443", "User-Agent: codex/1", "Accept-Encoding: zstd;q=1, br",
				"X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 10.1.2.4", "X-Forwarded-Proto: http", "Forwarded: for=10.1.2.3",
				"Via: 1.1 mine", "Range: bytes=0-", "Cookie: a=b; c=d", "Cookie: e", "X-Empty: ", "Max-Forwards: 0",
				"If-None-Match: W/\"x\"", "Cache-Control: no-cache", "Priority: u=1", "Date: today", "Warning: 199 - \"x\"",
			},
		},
		{
			"headers of one hop",
			[]string{
				"GET / HTTP/1.1", "Host: chatgpt.com", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5",
				"Proxy-Connection: keep-alive", "Proxy-Authorization: Basic c2VjcmV0", "TE: gzip", "X-Stay: 1",
			},
			[]string{"GET / HTTP/1.1", "Host: chatgpt.com", "X-Stay: 1"},
		},
		{
			"trailers are welcome",
			[]string{"GET / HTTP/1.1", "Host: chatgpt.com", "Connection: TE", "TE: gzip, trailers"},
			[]string{"GET / HTTP/1.1", "Host: chatgpt.com", "Te: trailers"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, heads := newRecorder(t)
			c := startProxy(t, address).intercepted(t)
			c.Send(t, "%s\r\n\r\n", strings.Join(test.send, "\r\n"))
			if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusNoContent {
				t.Fatal(res.Status)
			}
			want := append(test.want, "Authorization: Bearer "+proxytest.AccessToken, "Chatgpt-Account-Id: "+proxytest.Account)
			got := <-heads
			// Headers of one name keep their order; the others may change it.
			byName := func(a, b string) int {
				a, _, _ = strings.Cut(a, ":")
				b, _, _ = strings.Cut(b, ":")
				return strings.Compare(a, b)
			}
			slices.SortStableFunc(got, byName)
			slices.SortStableFunc(want, byName)
			if !slices.Equal(got, want) {
				t.Errorf("arrived:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestLargeHeaders passes large ones both ways; there is an end to it.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		large := strings.Repeat("h", 200<<10)
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Large", r.Header.Get("X-Large"))
		})
		p := startProxy(t, backend.Listener.Addr().String())
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
		r.Header.Set("X-Large", large)
		if res := proxytest.Do(t, p.client(t, client), r); res.Header.Get("X-Large") != large {
			t.Errorf("%s, %d bytes", res.Status, len(res.Header.Get("X-Large")))
		}
		r.Header.Set("X-Large", large+large)
		res, err := p.client(t, client).Do(r)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("twice as large: %s", res.Status)
			}
		} else if client == proxytest.H1 {
			t.Error(err) // an HTTP/2 client may know the limit
		}
	})
}
