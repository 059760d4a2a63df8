//go:build linux

package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

const echoPath = "/backend-api/test/echo"

// authorityTest is a request inside a tunnel to chatgpt.com, over one of the two
// protocols or both.
type authorityTest struct {
	name       string
	serverName string // of the TLS handshake; chatgpt.com unless set
	http1      http1Test
	http2      http2Test
}

type http1Test struct {
	request string
	status  int
}

type http2Test struct {
	fields []hpack.HeaderField
	status int
}

// streamReset is the status of no answer: the HTTP/2 server says in this way that
// a request is malformed.
const streamReset = 0

// lines makes a request of HTTP/1.1.
func lines(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// fields makes a request of HTTP/2: a GET of test/echo, with the given names and
// values in place of its own, or besides.
func fields(namesAndValues ...string) []hpack.HeaderField {
	all := []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: echoPath},
	}
	for pair := range slices.Chunk(namesAndValues, 2) {
		f := hpack.HeaderField{Name: pair[0], Value: pair[1]}
		if i := slices.IndexFunc(all[:3], func(old hpack.HeaderField) bool { return old.Name == f.Name }); i >= 0 {
			all[i] = f
		} else {
			all = append(all, f)
		}
	}
	return all
}

const getEcho = "GET " + echoPath + " HTTP/1.1"

var authorityTests = []authorityTest{
	{
		name:  "foreign Host",
		http1: http1Test{lines(getEcho, "Host: evil.example"), 421},
		http2: http2Test{fields(":authority", "evil.example"), 421},
	},
	{
		name:  "another ChatGPT host",
		http1: http1Test{lines(getEcho, "Host: api.chatgpt.com"), 421},
		http2: http2Test{fields(":authority", "api.chatgpt.com"), 421},
	},
	{
		name:  "Host with another port",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com:8443"), 421},
		http2: http2Test{fields(":authority", "chatgpt.com:8443"), 421},
	},
	{
		name:  "trailing dot",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com."), 421},
		http2: http2Test{fields(":authority", "chatgpt.com."), 421},
	},
	{
		name:  "user name",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com@evil.example"), 400},
		http2: http2Test{fields(":authority", "chatgpt.com@evil.example"), streamReset},
	},
	{
		name:  "user name before ours",
		http1: http1Test{lines(getEcho, "Host: evil.example@chatgpt.com"), 400},
		http2: http2Test{fields(":authority", "evil.example@chatgpt.com"), streamReset},
	},
	{
		name:  "percent-encoded",
		http1: http1Test{lines(getEcho, "Host: chatgpt%2ecom"), 421},
		http2: http2Test{fields(":authority", "chatgpt%2ecom"), 421},
	},
	{
		name:  "list",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com,evil.example"), 421},
		http2: http2Test{fields(":authority", "chatgpt.com,evil.example"), 421},
	},
	{
		name:  "path in Host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com/evil.example"), 400},
		http2: http2Test{fields(":authority", "chatgpt.com/evil.example"), 421},
	},
	{
		name:  "two names in Host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com evil.example"), 400},
		http2: http2Test{fields(":authority", "chatgpt.com evil.example"), 421},
	},
	{
		name:  "no Host",
		http1: http1Test{lines(getEcho), 400},
		http2: http2Test{fields(), 421},
	},
	{
		name:  "no Host in HTTP/1.0",
		http1: http1Test{lines("GET " + echoPath + " HTTP/1.0"), 421},
	},
	{
		name:  "duplicated Host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com", "Host: evil.example"), 400},
		http2: http2Test{fields(":authority", "chatgpt.com", ":authority", "evil.example"), streamReset},
	},
	{
		name:  "duplicated Host, foreign first",
		http1: http1Test{lines(getEcho, "Host: evil.example", "Host: chatgpt.com"), 400},
		http2: http2Test{fields(":authority", "evil.example", ":authority", "chatgpt.com"), streamReset},
	},
	{
		name:  "space before the colon",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com", "Host : evil.example"), 400},
	},
	{
		name:  "folded Host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com", "\tevil.example"), 400},
	},
	{
		name:  "Host besides :authority",
		http2: http2Test{fields(":authority", "chatgpt.com", "host", "evil.example"), 421},
	},
	{
		name:  "two Hosts besides :authority",
		http2: http2Test{fields(":authority", "chatgpt.com", "host", "chatgpt.com", "host", "evil.example"), 421},
	},
	{
		name:  "Host in place of :authority",
		http2: http2Test{fields("host", "evil.example"), 421},
	},
	{
		name:  "absolute URL",
		http1: http1Test{lines("GET https://evil.example"+echoPath+" HTTP/1.1", "Host: chatgpt.com"), 421},
		http2: http2Test{fields(":authority", "chatgpt.com", ":path", "https://evil.example"+echoPath), 421},
	},
	{
		name:  "absolute URL without TLS",
		http1: http1Test{lines("GET http://chatgpt.com"+echoPath+" HTTP/1.1", "Host: chatgpt.com"), 421},
		http2: http2Test{fields(":authority", "chatgpt.com", ":path", "http://chatgpt.com"+echoPath), 421},
	},
	{
		name:  "absolute URL with a user name",
		http1: http1Test{lines("GET https://evil.example@chatgpt.com"+echoPath+" HTTP/1.1", "Host: chatgpt.com"), 421},
		http2: http2Test{fields(":authority", "chatgpt.com", ":path", "https://evil.example@chatgpt.com"+echoPath), 421},
	},
	{
		name:  "CONNECT",
		http1: http1Test{lines("CONNECT evil.example:443 HTTP/1.1", "Host: evil.example:443"), 405},
		http2: http2Test{[]hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "evil.example:443"}}, 405},
	},
	{
		name:  "CONNECT to the same host",
		http1: http1Test{lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443"), 405},
		http2: http2Test{[]hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "chatgpt.com:443"}}, 405},
	},
	{
		name:       "foreign server name",
		serverName: "evil.example",
		http1:      http1Test{lines(getEcho, "Host: chatgpt.com"), 421},
		http2:      http2Test{fields(":authority", "chatgpt.com"), 421},
	},
	{
		name:       "foreign server name and Host",
		serverName: "evil.example",
		http1:      http1Test{lines(getEcho, "Host: evil.example"), 421},
		http2:      http2Test{fields(":authority", "evil.example"), 421},
	},
	{
		name:       "another ChatGPT host's server name",
		serverName: "api.chatgpt.com",
		http1:      http1Test{lines(getEcho, "Host: api.chatgpt.com"), 421},
		http2:      http2Test{fields(":authority", "api.chatgpt.com"), 421},
	},
	{
		name:  "the tunnel's own host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com"), 200},
		http2: http2Test{fields(":authority", "chatgpt.com"), 200},
	},
	{
		name:  "with the port",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com:443"), 200},
		http2: http2Test{fields(":authority", "chatgpt.com:443"), 200},
	},
	{
		name:  "in capitals",
		http1: http1Test{lines(getEcho, "Host: ChatGPT.com"), 200},
		http2: http2Test{fields(":authority", "ChatGPT.com"), 200},
	},
	{
		name:  "absolute URL of the tunnel's own host",
		http1: http1Test{lines("GET https://chatgpt.com"+echoPath+" HTTP/1.1", "Host: chatgpt.com"), 200},
	},
	// By RFC 9112, 3.2.2 the URL counts.
	{
		name:  "absolute URL, foreign Host",
		http1: http1Test{lines("GET https://chatgpt.com"+echoPath+" HTTP/1.1", "Host: evil.example"), 200},
	},
	{
		name:  "foreign X-Forwarded-Host",
		http1: http1Test{lines(getEcho, "Host: chatgpt.com", "X-Forwarded-Host: evil.example"), 200},
		http2: http2Test{fields(":authority", "chatgpt.com", "x-forwarded-host", "evil.example"), 200},
	},
}

// TestAuthority sends requests that name another authority than the tunnel they
// are in. None may reach a server, and no answer may hold a credential.
func TestAuthority(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	for _, test := range authorityTests {
		serverName := test.serverName
		if serverName == "" {
			serverName = "chatgpt.com"
		}
		if test.http1.request != "" {
			t.Run(test.name+"/http1", func(t *testing.T) {
				p.fixture.backend.ResetRequests()
				conn := p.tunnel(t, "chatgpt.com", serverName, "http/1.1")
				checkAuthorityAnswer(t, p, askHTTP1(t, conn, test.http1.request), test.http1.status)
			})
		}
		if test.http2.fields != nil {
			t.Run(test.name+"/h2", func(t *testing.T) {
				p.fixture.backend.ResetRequests()
				conn := p.tunnel(t, "chatgpt.com", serverName, "h2")
				checkAuthorityAnswer(t, p, askHTTP2(t, conn, test.http2.fields), test.http2.status)
			})
		}
	}
}

func checkAuthorityAnswer(t *testing.T, p *proxy, a rawAnswer, want int) {
	t.Helper()
	if a.status != want {
		t.Errorf("status %d, want %d\n%s", a.status, want, a.body)
	}
	if want == http.StatusOK {
		for _, r := range p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion) {
			if !strings.EqualFold(strings.TrimSuffix(r.Host, ":443"), "chatgpt.com") {
				t.Errorf("the backend was asked as %s", r.Host)
			}
		}
		return
	}
	if a.status == http.StatusMisdirectedRequest {
		checkRefusal(t, a.body, "misdirected_request")
	}
	if requests := p.fixture.backend.Requests(); len(requests) != 0 {
		t.Errorf("%d requests reached the backend: %s %s", len(requests), requests[0].Host, requests[0].RequestURI)
	}
	p.fixture.checkNoSecret(t, "the answer", a.header+a.body)
	for _, scheme := range []string{"AgentAssertion", "Bearer"} {
		if strings.Contains(a.header+a.body, scheme) {
			t.Errorf("the answer holds a credential: %s%s", a.header, a.body)
		}
	}
}

// TestConnectAuthority checks what is made of the authority that a CONNECT
// names. Its Host does not matter.
func TestConnectAuthority(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	for _, test := range []struct {
		authority, host string
		status          int
	}{
		{"chatgpt.com:443", "chatgpt.com:443", 200},
		{"chatgpt.com:443", "evil.example:443", 200},
		{"ChatGPT.COM:443", "chatgpt.com:443", 200},
		{"evil.example:443", "chatgpt.com:443", 403},
		{"chatgpt.com.evil.example:443", "chatgpt.com:443", 403},
		{"chatgpt.com", "chatgpt.com", 400},
		{"chatgpt.com:0443", "chatgpt.com:443", 400},
		{"chatgpt.com:99999", "chatgpt.com:443", 400},
		{"evil.example@chatgpt.com:443", "chatgpt.com:443", 400},
		{"chatgpt.com@evil.example:443", "chatgpt.com:443", 400},
		{"chatgpt%2ecom:443", "chatgpt.com:443", 400},
		{"https://chatgpt.com:443", "chatgpt.com:443", 400},
		{"chatgpt.com:443/evil.example:443", "chatgpt.com:443", 400},
	} {
		t.Run(test.authority+" "+test.host, func(t *testing.T) {
			conn, answer := p.connect(t, test.authority, test.host)
			conn.Close()
			if answer.status != test.status {
				t.Errorf("status %d, want %d\n%s", answer.status, test.status, answer.body)
			}
		})
	}
	if requests := p.fixture.backend.Requests(); len(requests) != 0 {
		t.Errorf("%d requests reached the backend", len(requests))
	}
}
