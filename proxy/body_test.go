package proxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestBodies sends bodies of all sizes, encoded in a way that the proxy must
// not look into, and gets them back.
func TestBodies(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Encoding", r.Header.Get("Content-Encoding"))
			w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
			_, _ = w.Write(body)
		})
		c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
		for _, size := range []int{0, 1, 70_000, 3 << 20} {
			for _, known := range []bool{true, false} {
				sent := make([]byte, size)
				_, _ = rand.Read(sent)
				var body io.Reader = bytes.NewReader(sent)
				length := int64(size)
				if !known {
					body, length = io.MultiReader(body), -1
				}
				r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body)
				r.Header.Set("Content-Encoding", "zstd")
				res := proxytest.Do(t, c, r)
				got := proxytest.ReadAll(t, res.Body)
				if sha256.Sum256([]byte(got)) != sha256.Sum256(sent) || res.Header.Get("Content-Encoding") != "zstd" {
					t.Errorf("%d bytes came back as %d, %s", size, len(got), res.Header.Get("Content-Encoding"))
				}
				if want := fmt.Sprint(length); res.Header.Get("X-Length") != want && size > 0 {
					t.Errorf("%d bytes (known: %v): the server was told of %s", size, known, res.Header.Get("X-Length"))
				}
			}
		}
	})
}

// TestCompressedAnswer leaves a gzip body as it is, asked for or not.
func TestCompressedAnswer(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, "plain text")
	z.Close()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		asked := make(chan []string, 1)
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Header["Accept-Encoding"]
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		})
		c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
		for _, accept := range [][]string{nil, {"gzip"}, {"br, zstd"}} {
			r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
			if accept != nil {
				r.Header["Accept-Encoding"] = accept
			}
			res := proxytest.Do(t, c, r)
			if got := proxytest.ReadAll(t, res.Body); got != packed.String() || res.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%q, %s", got, res.Header.Get("Content-Encoding"))
			}
			if got := <-asked; !slices.Equal(got, accept) {
				t.Errorf("Accept-Encoding %q arrived as %q", accept, got)
			}
		}
	})
}

// TestNoBody has the answers that have none.
func TestNoBody(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/204":
				w.WriteHeader(http.StatusNoContent)
			case "/304":
				w.Header().Set("Etag", `"e"`)
				w.WriteHeader(http.StatusNotModified)
			case "/length":
				w.Header().Set("Content-Length", "12345")
			}
		})
		c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
		for _, test := range []struct {
			method, path string
			status       int
			length       int64
		}{
			{http.MethodGet, "/204", 204, 0},
			{http.MethodGet, "/304", 304, -1},
			{http.MethodHead, "/length", 200, 12345},
			{http.MethodHead, "/", 200, -1},
			{http.MethodGet, "/", 200, 0},
			{http.MethodDelete, "/204", 204, 0},
		} {
			res := proxytest.Do(t, c, proxytest.NewRequest(t, test.method, proxytest.Origin+test.path, nil))
			if body := proxytest.ReadAll(t, res.Body); res.StatusCode != test.status || body != "" {
				t.Errorf("%s %s: %s, %q", test.method, test.path, res.Status, body)
			}
			if test.length > 0 && res.ContentLength != test.length {
				t.Errorf("%s %s: length %d", test.method, test.path, res.ContentLength)
			}
			if test.status == 304 && res.Header.Get("Etag") != `"e"` {
				t.Error("no ETag")
			}
		}
	})
}

// TestContinue has a client wait for the server's 100 before it sends its body.
func TestContinue(t *testing.T) {
	t.Parallel()
	for _, server := range []string{proxytest.H1, proxytest.H2} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			ready := make(chan struct{})
			backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
				<-ready
				switch r.URL.Path {
				case "/413":
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					return
				case "/417":
					w.WriteHeader(http.StatusExpectationFailed)
					return
				}
				_, _ = io.Copy(w, r.Body) // sends 100
			})
			p := newProxy(t, backend.Listener.Addr().String())
			p.current().upstream.ExpectContinueTimeout = proxytest.Patience // no matter how slow the machine is
			p.serve(t)
			for path, status := range map[string]int{"/": 200, "/413": 413, "/417": 417} {
				c := p.intercepted(t)
				c.Send(t, "POST %s HTTP/1.1\r\nHost: chatgpt.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", path)
				ready <- struct{}{} // the request is there, and nobody has answered it
				if path == "/" {
					c.Expect(t, "HTTP/1.1 100 Continue\r\n\r\n")
					c.Send(t, "body")
				}
				res := c.Response(t, http.MethodPost)
				if res.StatusCode != status {
					t.Errorf("%s: %s, want %d", path, res.Status, status)
				}
				if body := proxytest.ReadAll(t, res.Body); path == "/" && body != "body" {
					t.Errorf("body %q", body)
				}
			}
		})
	}
}

// TestContinueUnasked has a client that does not wait, and a server that never
// says 100: the body goes out after a moment.
func TestContinueUnasked(t *testing.T) {
	t.Parallel()
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		if _, err := proxytest.RequestHead(r); err != nil {
			return
		}
		body := make([]byte, 4)
		if _, err := io.ReadFull(r, body); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%s", body)
		}
	})
	c := startProxy(t, address).intercepted(t)
	c.Send(t, "POST / HTTP/1.1\r\nHost: chatgpt.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
	res := c.Response(t, http.MethodPost)
	if res.StatusCode == http.StatusContinue {
		res = c.Response(t, http.MethodPost)
	}
	if body := proxytest.ReadAll(t, res.Body); res.StatusCode != 200 || body != "body" {
		t.Errorf("%s, %q", res.Status, body)
	}
}

// TestRequestTrailers lets pass what was announced, unless it is a credential.
func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	trailers := make(chan http.Header, 1)
	for _, server := range []string{proxytest.H1, proxytest.H2} {
		t.Run(server, func(t *testing.T) {
			backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				trailers <- r.Trailer
			})
			c := startProxy(t, backend.Listener.Addr().String()).intercepted(t)
			c.Send(t, "POST / HTTP/1.1\r\nHost: chatgpt.com\r\nTransfer-Encoding: chunked\r\n"+
				"Trailer: X-Sum, ChatGPT-Account-ID, X-OpenAI-Fedramp\r\n\r\n4\r\nbody\r\n0\r\n"+
				"X-Sum: 1\r\nChatgpt-Account-Id: other\r\nX-OpenAI-Fedramp: true\r\nAuthorization: Bearer mine\r\nX-Unannounced: 1\r\n\r\n")
			if res := c.Response(t, http.MethodPost); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			got := <-trailers
			if got.Get("X-Sum") != "1" || len(got) != 1 {
				t.Errorf("trailers %v", got)
			}
		})
	}
	t.Run("h2 client", func(t *testing.T) {
		backend := proxytest.NewBackend(t, proxytest.H2, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			trailers <- r.Trailer
		})
		c := startProxy(t, backend.Listener.Addr().String()).client(t, proxytest.H2)
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Sum": {"2"}}
		proxytest.Do(t, c, r)
		if got := <-trailers; got.Get("X-Sum") != "2" || len(got) != 1 {
			t.Errorf("trailers %v", got)
		}
	})
}

// TestAnswerTrailers lets pass announced and unannounced ones.
func TestAnswerTrailers(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "1")
			w.Header().Set(http.TrailerPrefix+"X-More", "2")
		})
		res := proxytest.Get(t, startProxy(t, backend.Listener.Addr().String()).client(t, client), proxytest.Origin+"/")
		if _, announced := res.Trailer["X-Sum"]; !announced {
			t.Error("X-Sum was not announced")
		}
		if body := proxytest.ReadAll(t, res.Body); body != "body" || res.Trailer.Get("X-Sum") != "1" || res.Trailer.Get("X-More") != "2" {
			t.Errorf("%q, %v", body, res.Trailer)
		}
	})
}

// TestEarlyHints has 103 arrive before the answer is made.
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		hinted := make(chan struct{})
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			select {
			case <-hinted:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "body")
		})
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code != http.StatusEarlyHints || h.Get("Link") != "</style.css>; rel=preload" {
					t.Errorf("%d, %v", code, h)
				}
				close(hinted)
				return nil
			},
		}))
		res := proxytest.Do(t, startProxy(t, backend.Listener.Addr().String()).client(t, client), r)
		if body := proxytest.ReadAll(t, res.Body); body != "body" || res.Header.Get("Link") != "" {
			t.Errorf("%q, %v", body, res.Header)
		}
	})
}

// TestAnswerHeaders leaves the answer's header alone: repeated ones keep their
// order, and none is made up.
func TestAnswerHeaders(t *testing.T) {
	t.Parallel()
	cookies := []string{"b=2; Path=/", "a=1", "b=3"}
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Set-Cookie"] = cookies
			w.Header()["Content-Type"] = nil
			w.Header().Set("Date", "yesterday")
			w.Header().Set("Server", "theirs")
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("Proxy-Authenticate", "Basic")
			if server == proxytest.H1 {
				w.Header().Set("Upgrade", "h2")
			}
			_, _ = io.WriteString(w, "<html>")
		})
		res := proxytest.Get(t, startProxy(t, backend.Listener.Addr().String()).client(t, client), proxytest.Origin+"/")
		if body := proxytest.ReadAll(t, res.Body); body != "<html>" {
			t.Errorf("body %q", body)
		}
		if got := res.Header["Set-Cookie"]; !slices.Equal(got, cookies) {
			t.Errorf("Set-Cookie: %q", got)
		}
		delete(res.Header, "Set-Cookie")
		delete(res.Header, "Content-Length") // an HTTP/1 server computes it
		if len(res.Header) != 2 || res.Header.Get("Date") != "yesterday" || res.Header.Get("Server") != "theirs" {
			t.Errorf("header %v", res.Header)
		}
	})
}
