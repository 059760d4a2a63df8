package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// newOddServer starts a server that answers requests for /odd with answer, and
// others with "ok".
func newOddServer(t *testing.T, answer string) string {
	t.Helper()
	return proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		for {
			head, err := proxytest.RequestHead(r)
			if err != nil {
				return
			}
			if strings.Contains(head[0], "/odd") {
				_, _ = io.WriteString(c, answer)
			} else {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
}

// TestOddAnswers has servers send what could be read in two ways. Whatever it is
// read as, the answer to the next request is that request's own.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	const smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(smuggled))
	for name, test := range map[string]struct {
		method, answer string
		status         int
		body           string
	}{
		"a body for HEAD":           {"HEAD", "HTTP/1.1 200 OK\r\n" + length + "\r\n" + smuggled, 200, ""},
		"a body of 204":             {"GET", "HTTP/1.1 204 No Content\r\n\r\n" + smuggled, 204, ""},
		"a body of 304":             {"GET", "HTTP/1.1 304 Not Modified\r\n\r\n" + smuggled, 304, ""},
		"more than the length":      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" + smuggled, 200, "x"},
		"a length and chunks":       {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + smuggled, 200, "x"},
		"two lengths":               {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx" + smuggled, 502, ""},
		"a length with a sign":      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx" + smuggled, 502, ""},
		"chunks and something else": {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\n1\r\nx\r\n0\r\n\r\n", 502, ""},
		"a line without a name":     {"GET", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n", 502, ""},
		"lines without CR":          {"GET", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", 200, "x"},
		"a folded line":             {"GET", "HTTP/1.1 200 OK\r\nX-Folded: a\r\n Content-Length: 5\r\nContent-Length: 1\r\n\r\nx", 200, "x"},
		"a chunk's extension":       {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\nx\r\n0\r\n\r\n" + smuggled, 200, "x"},
		"a trailer that is framing": {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n", 502, ""},
		"another protocol":          {"GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + smuggled, 502, ""},
		"no status":                 {"GET", "HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", 502, ""},
		"a status with a sign":      {"GET", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", 502, ""},
		"a status of four digits":   {"GET", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 502, ""},
		"no version":                {"GET", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", 502, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, newOddServer(t, test.answer))
			for _, proto := range []string{proxytest.H1, proxytest.H2} {
				c := p.client(t, proto)
				for range 2 {
					res := proxytest.Do(t, c, proxytest.NewRequest(t, test.method, proxytest.Origin+"/odd", nil))
					if res.StatusCode == http.StatusBadGateway && test.status == http.StatusBadGateway {
						proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_failed", "destination_unavailable")
					} else if got := proxytest.ReadAll(t, res.Body); res.StatusCode != test.status || got != test.body {
						t.Errorf("%s: %s, %q", proto, res.Status, got)
					}
					if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "ok" {
						t.Errorf("%s: the next answer is %q", proto, got)
					}
				}
			}
			if log := p.log.String(); strings.Contains(log, "panic") {
				t.Error(log)
			}
		})
	}
}

// TestOddHints has informational answers tell of one connection, which is
// another than the client's.
func TestOddHints(t *testing.T) {
	t.Parallel()
	address := newOddServer(t, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\nConnection: X-Hop\r\nX-Hop: x\r\nKeep-Alive: x\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	p := startProxy(t, address)
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		var hints textproto.MIMEHeader
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/odd", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				hints = h
				return nil
			},
		}))
		if got := proxytest.ReadAll(t, proxytest.Do(t, p.client(t, proto), r).Body); got != "ok" {
			t.Errorf("%q", got)
		}
		if len(hints) != 1 || hints.Get("Link") != "<x>" {
			t.Errorf("the hints are %v", hints)
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		t.Parallel() // which has none (RFC 9110, 15.2)
		c := p.intercepted(t)
		c.Send(t, "GET /odd HTTP/1.0\r\nHost: %s\r\n\r\n", proxytest.Host)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Errorf("%s", res.Status)
		}
	})
}

// TestOddTrailers has trailers that would change what the answer is. They are
// dropped, announced or not (RFC 9110, 6.5.1).
func TestOddTrailers(t *testing.T) {
	t.Parallel()
	for name, announced := range map[string]string{"announced": "Trailer: X-Good\r\n", "not announced": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, newOddServer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+announced+"\r\n"+
				"2\r\nok\r\n0\r\nX-Good: yes\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nWww-Authenticate: x\r\n\r\n"))
			for _, proto := range []string{proxytest.H1, proxytest.H2} {
				res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/odd")
				if got := proxytest.ReadAll(t, res.Body); got != "ok" || len(res.Trailer) != 1 || res.Trailer.Get("X-Good") != "yes" {
					t.Errorf("%s: %q with trailers %v", proto, got, res.Trailer)
				}
			}
		})
	}
}

// newOddH2Server starts a server of HTTP/2 that answers every request with this
// header, names and values by turns, and "ok".
func newOddH2Server(t *testing.T, fields []string) string {
	t.Helper()
	config := proxytest.ServerTLS()
	config.NextProtos = []string{"h2"}
	proxytest.RefuseHTTP1(config)
	return proxytest.NewRawServer(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		if _, err := io.CopyN(io.Discard, secured, int64(len(http2.ClientPreface))); err != nil {
			return // it offered HTTP/1.1 alone
		}
		framer := http2.NewFramer(secured, secured)
		_ = framer.WriteSettings()
		var header bytes.Buffer
		enc := hpack.NewEncoder(&header)
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = framer.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				header.Reset()
				for i := 0; i < len(fields); i += 2 {
					_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
				}
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: header.Bytes(), EndHeaders: true})
				_ = framer.WriteData(frame.StreamID, true, []byte("ok"))
			}
		}
	})
}

// TestOddAnswersHTTP2 has a server say over HTTP/2, where it does no harm, what
// would make another answer of it in HTTP/1.1, or none.
func TestOddAnswersHTTP2(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"two lengths":             {":status", "200", "content-length", "2", "content-length", "10"},
		"a length with a sign":    {":status", "200", "content-length", "+2"},
		"a length that is none":   {":status", "200", "content-length", "2, 2"},
		"a status of four digits": {":status", "2000"},
		"a status of two digits":  {":status", "20"},
		"a status of one digit":   {":status", "007"},
		"another protocol":        {":status", "101"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, newOddH2Server(t, fields))
			for _, proto := range []string{proxytest.H1, proxytest.H2} {
				res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
				if strings.Contains(name, "length") && res.StatusCode == http.StatusOK {
					// Go 1.26.9 and later leave such a length out.
					if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil || res.ContentLength > 2 {
						t.Errorf("%s: length %d, body %q, %v", proto, res.ContentLength, body, err)
					}
					continue
				}
				proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_failed", "destination_unavailable")
			}
		})
	}
}

// TestHintsForNobody has clients of HTTP/2 go away while informational answers
// are on their way. net/http's server may be at their header yet when it has
// said that it is done with it; with the race detector that is found out.
func TestHintsForNobody(t *testing.T) {
	t.Parallel()
	hint := "HTTP/1.1 103 Early Hints\r\n"
	for i := range 50 {
		hint += fmt.Sprintf("X-%d: x\r\n", i)
	}
	p := startProxy(t, newOddServer(t, strings.Repeat(hint+"\r\n", 20)+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	c := p.h2(t)
	go func() { _, _ = io.Copy(io.Discard, c.R) }()
	for i := range 300 {
		stream := uint32(2*i + 1)
		c.request(t, stream, ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/odd")
		time.Sleep(time.Duration(i%50) * 20 * time.Microsecond)
		if err := c.framer.WriteRSTStream(stream, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
}
