package proxy

import (
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// hidden is a request inside of another's body. A server that reads the body's
// end elsewhere than the proxy would take it for a request.
const hidden = "GET /smuggled HTTP/1.1\r\nHost: chatgpt.com\r\nAuthorization: Bearer forged\r\n\r\n"

const post = "POST / HTTP/1.1\r\nHost: chatgpt.com\r\n"

// smuggling are requests that two parsers may read in two ways. status is the
// answer; where it is 204 the request is forwarded, in one reading.
var smuggling = []struct {
	name, request string
	status        int
}{
	// RFC 9112, 6.3: Transfer-Encoding overrides, and Content-Length must go.
	{"length and chunked", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204},
	{"chunked and length", post + "Transfer-Encoding: chunked\r\nContent-Length: " + strconv.Itoa(5+len(hidden)) + "\r\n\r\n0\r\n\r\n", 204},
	{"chunked and a length that is none", post + "Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n", 400},
	{"two lengths", post + "Content-Length: 0\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 400},
	{"the same length twice", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 204},
	{"a list of lengths", post + "Content-Length: 0, " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 400},
	{"length with a sign", post + "Content-Length: +1\r\n\r\nx", 400},
	{"negative length", post + "Content-Length: -1\r\n\r\n", 400},
	{"hexadecimal length", post + "Content-Length: 0x1\r\n\r\nx", 400},
	{"length with a space inside", post + "Content-Length: 1 0\r\n\r\nxxxxxxxxxx", 400},
	{"empty length", post + "Content-Length:\r\n\r\n", 400},
	{"length beyond 64 bits", post + "Content-Length: 18446744073709551616\r\n\r\n", 400},
	{"length in other digits", post + "Content-Length: \u0661\r\n\r\nx", 400},

	{"chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden, 501},
	{"identity, chunked", post + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501},
	{"identity", post + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n", 501},
	{"gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
	{"chunked and another", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 501},
	{"xchunked", post + "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n", 501},
	{"chunked with a vertical tab", post + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 0\r\n\r\n", 400},
	{"chunked in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501},
	{"empty coding", post + "Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n", 501},
	{"space before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	{"space before the name", post + " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"underscore in the name", post + "Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 204},
	{"NUL in the name", post + "Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n", 400},

	// Folds are replaced by a space (RFC 9112, 5.2).
	{"folded value", post + "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n", 204},
	{"folded length", post + "Content-Length:\r\n 0\r\n\r\n", 204},
	{"folded list of lengths", post + "Content-Length: 0\r\n 5\r\n\r\n", 400},
	{"folded coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 204},
	{"folded first line", "POST / HTTP/1.1\r\n Host: chatgpt.com\r\n\r\n", 400},
	{"NUL in a value", post + "X-A: b\x00c\r\n\r\n", 400},
	{"CR in a value", post + "X-A: b\rTransfer-Encoding: chunked\r\n\r\n", 400},
	{"DEL in a value", post + "X-A: b\x7f\r\n\r\n", 400},
	{"no colon", post + "X-A\r\n\r\n", 400},
	{"empty name", post + ": b\r\n\r\n", 400},
	{"name that is no token", post + "X(A): b\r\n\r\n", 400},
	{"name beyond ASCII", post + "X-\u00c4: b\r\n\r\n", 400},

	// A bare LF ends a line (RFC 9112, 2.2); it leaves as CR LF.
	{"bare LF", "POST / HTTP/1.1\nHost: chatgpt.com\nContent-Length: 0\n\n", 204},
	{"bare LF before chunked", post + "X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204},
	{"bare CR before chunked", post + "X-A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},

	{"three words and one", "GET / HTTP/1.1 HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"no version", "GET /\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"version 0.9", "GET / HTTP/0.9\r\nHost: chatgpt.com\r\n\r\n", 505},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: chatgpt.com\r\n\r\n", 204},
	{"version 2.0", "GET / HTTP/2.0\r\nHost: chatgpt.com\r\n\r\n", 505},
	{"version 11", "GET / HTTP/11\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"lower-case version", "GET / http/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 204},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"tab in place of a space", "GET\t/\tHTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"CR in the target", "GET /a\rb HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"NUL in the target", "GET /a\x00b HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"target without a slash", "GET a HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"method that is no token", "GE(T / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"empty method", " / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"encoded CR LF in the target", "GET /a%0d%0aHost:%20evil.example HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 204},
	{"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
	{"fragment in the query", "GET /a?b#c HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},

	{"body of a GET", "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, 204},
	{"request in a chunk", post + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(hidden)), 16) + "\r\n" + hidden + "\r\n0\r\n\r\n", 204},
	{"chunk extension", post + "Transfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\nx\r\n0\r\n\r\n", 204},
	{"Connection names Content-Length", post + "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc", 204},
	{"Connection names Transfer-Encoding", post + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 204},
	{"Connection names Host", "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Host\r\n\r\n", 204},
	{"Connection names ours", "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: close, Authorization, ChatGPT-Account-ID\r\n\r\n", 204},
	{"credential in a trailer", post + "Transfer-Encoding: chunked\r\nTrailer: Authorization, Chatgpt-Account-Id\r\n\r\n" +
		"0\r\nAuthorization: Bearer forged\r\nChatgpt-Account-Id: other\r\n\r\n", 204},
	{"length in a trailer", post + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400},
}

// TestSmuggling sends each request and one after it. What is answered with 204
// reached a server that reads requests by the letter, in one piece and signed
// once; of all else nothing did.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	p := newStrictProxy(t)
	for _, test := range smuggling {
		t.Run(test.name, func(t *testing.T) {
			c := p.intercepted(t)
			c.Send(t, "%s", test.request)
			res := c.Response(t, http.MethodPost)
			if res.StatusCode != test.status {
				t.Errorf("%s, want %d", res.Status, test.status)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			want := 1
			if res.StatusCode != http.StatusNoContent {
				want = 0
				// The connection cannot be trusted any more.
				c.ExpectEOF(t)
			}
			c.Close()
			requests, err := p.settled()
			if err != nil {
				t.Error(err)
			}
			if len(requests) != want {
				t.Errorf("%d requests arrived, want %d", len(requests), want)
			}
		})
	}
	// Nothing that was done to these connections has harmed another.
	if res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"); res.StatusCode != http.StatusNoContent {
		t.Error(res.Status)
	}
}

// TestSmugglingInBody breaks the framing of a body that is under way, where no
// status can be answered any more that counts. The server must not take what
// arrived for a whole request, nor what follows for another.
func TestSmugglingInBody(t *testing.T) {
	t.Parallel()
	p := newStrictProxy(t)
	for name, chunks := range map[string]string{
		"size beyond 64 bits":   "10000000000000000\r\nx\r\n0\r\n\r\n",
		"negative size":         "-1\r\nx\r\n0\r\n\r\n",
		"size with a sign":      "+1\r\nx\r\n0\r\n\r\n",
		"size with a prefix":    "0x1\r\nx\r\n0\r\n\r\n",
		"empty size":            "\r\nx\r\n0\r\n\r\n",
		"no end of a chunk":     "1\r\nxx\r\n0\r\n\r\n",
		"CR alone after a size": "1\rx\r\n0\r\n\r\n",
		"CR inside a line":      "1;\ra\r\nx\r\n0\r\n\r\n",
		"endless extension":     "1;" + strings.Repeat("a", 1<<20) + "\r\nx\r\n0\r\n\r\n",
		"flood of extensions":   strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 1000) + "0\r\n\r\n",
		"NUL in a trailer":      "0\r\nX-A: b\x00\r\n\r\n",
		"endless trailer":       "0\r\nX-A: " + strings.Repeat("b", 1<<20) + "\r\n\r\n",
		"no end":                "1\r\nx\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := p.intercepted(t)
			c.Send(t, post+"Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n")
			// The proxy may hang up before it has all.
			_, _ = io.WriteString(c.Conn, chunks+hidden)
			_ = c.Conn.(*tls.Conn).CloseWrite()
			_, _ = io.Copy(io.Discard, c.R)
			c.Close()
			requests, err := p.settled()
			if err != nil {
				t.Error(err)
			}
			if len(requests) > 0 {
				t.Errorf("the server was sent %s %s with %d bytes, in whole", requests[0].method, requests[0].target, len(requests[0].body))
			}
		})
	}
}
