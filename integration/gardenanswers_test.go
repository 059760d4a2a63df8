//go:build linux

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hiddenAnswer is one after or inside of another.
const hiddenAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Check: hidden\r\n\r\nhidden"

// hostileAnswers are what a server may send to have two readers of it differ.
func hostileAnswers() (all []string) {
	ok := func(rest string) string { return "HTTP/1.1 200 OK\r\nX-Check: yes\r\n" + rest }
	for _, line := range []string{
		"HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 caf\xe9", "HTTP/1.1 200 \t", "HTTP/1.0 200 OK", "HTTP/1.2 200 OK", "HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.1  200 OK", "http/1.1 200 OK",
		"HTTP/1.1 020 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 0x2 OK", "HTTP/1.1 000 OK", "HTTP/1.1 099 OK", "HTTP/1.1 299 OK", "HTTP/1.1 599 OK", "HTTP/1.1 600 OK", "HTTP/1.1 999 OK",
		"HTTP/1.1 101 Switching Protocols", "HTTP/1.1 204 No Content", "HTTP/1.1 205 Reset Content", "HTTP/1.1 206 Partial Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 301 Moved", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 407 Proxy Authentication Required",
		"HTTP/1.1 408 Request Timeout", "HTTP/1.1 421 Misdirected Request", "HTTP/1.1 425 Too Early", "HTTP/1.1 503 Service Unavailable", "ICY 200 OK", "RTSP/1.0 200 OK", "HTTP/1.1", "", " HTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK", "HTTP/1.1 200 OK\rX-Check: no",
	} {
		all = append(all, line+"\r\nX-Check: yes\r\nContent-Length: 2\r\n\r\nhi"+hiddenAnswer)
	}
	for _, framing := range []string{
		"\r\nhi", "Content-Length: 2\r\n\r\nhi", "Content-Length: 3\r\n\r\nhi", "Content-Length: 1\r\n\r\nhi", "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "Content-Length: 2, 2\r\n\r\nhi", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", "Content-Length: 2, 1\r\n\r\nhi",
		"Content-Length: +2\r\n\r\nhi", "Content-Length: -2\r\n\r\nhi", "Content-Length: 0x2\r\n\r\nhi", "Content-Length: 02\r\n\r\nhi", "Content-Length: 2 \r\n\r\nhi", "Content-Length:\r\n\r\nhi", "Content-Length: 2x\r\n\r\nhi", "Content-Length: 18446744073709551618\r\n\r\nhi", "Content-Length : 2\r\n\r\nhi", " Content-Length: 2\r\n\r\nhi",
		"Content-Length: 2\r\n\r\nhi" + hiddenAnswer, "Content_Length: 1\r\nContent-Length: 2\r\n\r\nhi", "Content-Length\x00: 2\r\n\r\nhi", "Content-Length: \x0b2\r\n\r\nhi", "Content-Length: 2\r\n X: y\r\n\r\nhi", "Content-Length:\r\n 2\r\n\r\nhi",
		"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + hiddenAnswer, "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked, identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: identity, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi", "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nhi", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\nhi",
		"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", "Transfer-Encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: \"chunked\"\r\nContent-Length: 2\r\n\r\nhi",
		"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0;c\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0002\r\nhi\r\n000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n",
		"Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0", "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n2\r\nhi\r\n0\r\nX-Check: no\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 1\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T\x00: 1\r\n\r\n", "Connection: close\r\n\r\nhi", "Connection: Content-Length\r\nContent-Length: 2\r\n\r\nhi", "Connection: X-Check\r\nContent-Length: 2\r\n\r\nhi", "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Connection: keep-alive\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi",
		"Proxy-Connection: close\r\nContent-Length: 2\r\n\r\nhi", "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nhi", "Alt-Svc: h3=\":443\"\r\nContent-Length: 2\r\n\r\nhi", "Content-Type: multipart/byteranges; boundary=x\r\nContent-Length: 2\r\n\r\nhi", "Location: http://evil.example/\r\nContent-Length: 2\r\n\r\nhi",
	} {
		all = append(all, ok(framing))
	}
	for _, field := range []string{
		"X-Check: a\r\nX-Check: b", "X-Check: a\r\n b", "X-Check:\r\n\ta", "X-Check: caf\xe9", "X-Check: a\x00b", "X-Check: a\x7fb", "X-Check: a\x01b", "X-Check: a\rb", "X-Check: a\nX-Check: b", "X-Check", ": a", "X-Check : a", "X Check: a", "X(Check): a", "X-Ch\xe9ck: a", "\x00: a",
		"X-Check: " + strings.Repeat("a", 20000), strings.TrimSuffix(strings.Repeat("X-A: b\r\n", 90), "\r\n"), "X-Check: \"a\\\"b\"", "X-Check:a", "X-Check:  a  ", "X-Check: a,", "x-check: a", "X_Check: a", "Set-Cookie: a=b\r\nSet-Cookie: c=d", "Date: never", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT",
	} {
		all = append(all, "HTTP/1.1 200 OK\r\n"+field+"\r\nContent-Length: 2\r\n\r\nhi")
	}
	for _, before := range []string{
		"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nX-Check: hint\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 199 What\r\n\r\n", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3), "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		all = append(all, before+ok("Content-Length: 2\r\n\r\nhi"))
	}
	return append(all, "", "\r\n\r\n", "hi", "\x15\x03\x01\x00\x02\x02\x28", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 2\nX-Check: yes\n\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Check: ye", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
}

// A gardenAnswer is an answer as a client has read it; one whose status is 0 it has
// refused.
type gardenAnswer struct {
	Status int    `json:"status"`
	Check  string `json:"check"` // the fields X-Check, in a list
	Body   []byte `json:"body"`
}

// A gleaner is a client that reads answers. It prints one line of JSON for each.
type gleaner struct {
	name string
	read func(t *testing.T, base string, count int) []gardenAnswer
	// odd reports whether it is known to read an answer in a way of its own.
	odd func(answer string) bool
}

var usualGleaners = []gleaner{
	{name: "curl", read: curlGleans},
	{name: "undici", read: func(t *testing.T, base string, count int) []gardenAnswer {
		return programGleans(t, npmProgram(t, gardenNode), "fetch.mjs", base, count)
	}, odd: func(answer string) bool {
		return strings.HasPrefix(answer, "HTTP/1.1 205 ") // which fetch gives no body
	}},
	{name: "Python", read: func(t *testing.T, base string, count int) []gardenAnswer {
		return programGleans(t, systemProgram(t, "python3"), "http_client.py", base, count)
	}, odd: func(answer string) bool {
		// Up to 3.11 it takes informational answers but 100 for the last one.
		return strings.HasPrefix(answer, "HTTP/1.1 1")
	}},
	{name: "Go", read: goGleans},
}

// TestGardenAnswers has a server send answers that can be read in two ways, and
// clients that we did not write read what the proxy makes of them: those that take
// one read the same.
func TestGardenAnswers(t *testing.T) {
	t.Parallel()
	hostile := hostileAnswers()
	server := newRawServer(t, func(conn net.Conn) {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(rawTimeout))
		if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			if i, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/")); err == nil && i < len(hostile) {
				_, _ = io.WriteString(conn, hostile[i])
			}
		}
	})
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, []byte(gardenToken))
	p := newFixture(t, fixtureConfig{upstream: server, yaml: fmt.Sprintf("signer: {use: token, token_file: %q}", token)}).serve(t)
	passed := make([]string, len(hostile))
	for i := range hostile {
		conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1")
		writeString(t, conn, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: close\r\n\r\n", i))
		all, err := io.ReadAll(conn)
		if err != nil && len(all) == 0 {
			t.Errorf("%q: %v", hostile[i], err)
		}
		conn.Close()
		passed[i] = string(all)
	}

	base := replay(t, passed)
	refused, odd, read := 0, 0, make([]gardenAnswer, len(hostile))
	by := make([]string, len(hostile))
	for _, g := range gleaners {
		got := g.read(t, base, len(hostile))
		if len(got) != len(hostile) {
			t.Fatalf("%s tells of %d answers, not %d", g.name, len(got), len(hostile))
		}
		for i, a := range got {
			a.Check = inASCII(a.Check)
			switch want := read[i]; {
			case a.Status == 0:
				refused++
			case g.odd != nil && g.odd(passed[i]):
				odd++
			case want.Status == 0:
				read[i], by[i] = a, g.name
			case a.Status != want.Status || a.Check != want.Check || string(a.Body) != string(want.Body):
				t.Errorf("%s reads %d, X-Check %q, %q\n%s reads %d, X-Check %q, %q\nserver: %q\nproxy: %q",
					g.name, a.Status, a.Check, a.Body, by[i], want.Status, want.Check, want.Body, hostile[i], passed[i])
			}
		}
	}
	for i, a := range read {
		if strings.Contains(string(a.Body), "hidden") || strings.Contains(a.Check, "hidden") {
			t.Errorf("a hidden answer comes out\nserver: %q\nproxy: %q", hostile[i], passed[i])
		}
	}
	t.Logf("%d answers, read by %d clients, which refused %d of theirs and read %d as they always do", len(hostile), len(gleaners), refused, odd)
}

// inASCII makes one thing of what clients make of bytes beyond ASCII.
func inASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, s)
}

// replay serves each text at the path that is its number, on a connection of its
// own.
func replay(t *testing.T, texts []string) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(rawTimeout))
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				if i, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/")); err == nil && i < len(texts) {
					_, _ = io.WriteString(conn, texts[i])
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// programGleans runs a program of integration/garden.
func programGleans(t *testing.T, program, script, base string, count int) (all []gardenAnswer) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("garden", script))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(mustRun(t, append(baseEnv(t), "PYTHONIOENCODING=utf-8"), program, path, base, strconv.Itoa(count))) {
		var a gardenAnswer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%s: %v: %s", script, err, line)
		}
		all = append(all, a)
	}
	return all
}

func curlGleans(t *testing.T, base string, count int) (all []gardenAnswer) {
	t.Helper()
	for i := range count {
		dir := t.TempDir()
		r := run(t, baseEnv(t), systemProgram(t, "curl"), "-sS", "--max-time", "60", "-o", filepath.Join(dir, "body"), "-D", filepath.Join(dir, "head"), "-w", "%{http_code}", base+"/"+strconv.Itoa(i))
		var a gardenAnswer
		if r.code == 0 {
			a.Status, _ = strconv.Atoi(r.stdout)
			a.Body = []byte(readFile(t, filepath.Join(dir, "body")))
			// It keeps what informational answers say, and trailers, apart from nothing.
			heads := strings.Split(strings.TrimRight(readFile(t, filepath.Join(dir, "head")), "\r\n"), "\r\n\r\n")
			for _, head := range heads {
				var values []string
				for line := range strings.SplitSeq(head, "\r\n") {
					if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "X-Check") {
						values = append(values, strings.Trim(value, " \t"))
					}
				}
				if status := strings.Fields(head); len(status) > 1 && status[1] == strconv.Itoa(a.Status) {
					a.Check = strings.Join(values, ", ")
				}
			}
		}
		all = append(all, a)
	}
	return all
}

func goGleans(t *testing.T, base string, count int) (all []gardenAnswer) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	for i := range count {
		all = append(all, func() (a gardenAnswer) {
			ctx, cancel := context.WithTimeout(t.Context(), rawTimeout)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+strconv.Itoa(i), nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				return a
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				return a
			}
			return gardenAnswer{response.StatusCode, strings.Join(response.Header.Values("X-Check"), ", "), body}
		}())
	}
	return all
}
