//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

const backendAPI = "https://chatgpt.com/backend-api"

// curlProtocols are the ways for curl to talk to the proxy inside the tunnel.
var curlProtocols = []struct{ option, version string }{{"--http1.1", "1.1"}, {"--http2", "2"}}

// curlResult is an answer as curl tells it.
type curlResult struct {
	Code     int    `json:"http_code"`
	Connect  int    `json:"http_connect"`
	Version  string `json:"http_version"`
	Uploaded int64  `json:"size_upload"`
	Exit     int    `json:"exitcode"`
	header   http.Header
	body     string
	stderr   string
}

// curl runs curl in the given environment.
func curl(t *testing.T, environ []string, args ...string) curlResult {
	t.Helper()
	dir := t.TempDir()
	body, header := filepath.Join(dir, "body"), filepath.Join(dir, "header")
	args = append([]string{"-sS", "-o", body, "-D", header, "-w", "%{json}"}, args...)
	out := run(t, environ, systemProgram(t, "curl"), args...)
	var r curlResult
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("curl %s: %v\n%s%s", strings.Join(args, " "), err, out.stdout, out.stderr)
	}
	r.body, r.stderr = readFile(t, body), out.stderr
	r.header = lastHeader(readFile(t, header))
	return r
}

// lastHeader returns the last of the header blocks that curl has written: those
// before are of CONNECT and of informational answers.
func lastHeader(dump string) http.Header {
	h := make(http.Header)
	for block := range strings.SplitSeq(strings.TrimSpace(dump), "\r\n\r\n") {
		h = make(http.Header)
		for line := range strings.SplitSeq(block, "\r\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				h.Add(name, strings.TrimSpace(value))
			}
		}
	}
	return h
}

func TestCurl(t *testing.T) {
	t.Parallel()
	for _, protocol := range curlProtocols {
		t.Run(protocol.option, func(t *testing.T) {
			t.Parallel()
			p := newFixture(t, fixtureConfig{backend: chatgpttest.Config{
				Hosts: []string{"chatgpt.com", "*.chatgpt.com", "*.b.chatgpt.com", "chat.openai.com"},
			}}).serve(t)
			get := func(t *testing.T, want int, args ...string) curlResult {
				t.Helper()
				r := curl(t, p.env, append([]string{protocol.option}, args...)...)
				if r.Exit != 0 || r.Code != want || r.Version != protocol.version {
					t.Fatalf("exit code %d, status %d over HTTP/%s; want 0, %d, HTTP/%s\n%s%s",
						r.Exit, r.Code, r.Version, want, protocol.version, r.body, r.stderr)
				}
				return r
			}
			t.Run("GET", func(t *testing.T) {
				r := get(t, 200, backendAPI+"/test/echo?q=1", "-H", "X-Mine: kept", "-H", "Authorization: Bearer mine", "-H", "ChatGPT-Account-ID: mine")
				checkEcho(t, r.body)
			})
			t.Run("POST", func(t *testing.T) {
				content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
				file := filepath.Join(t.TempDir(), "upload")
				writeFile(t, file, content)
				r := get(t, 200, backendAPI+"/test/upload", "--data-binary", "@"+file)
				if want := uploaded(content); !strings.Contains(r.body, want) {
					t.Errorf("the backend says %s, want %s", r.body, want)
				}
			})
			t.Run("HEAD", func(t *testing.T) {
				r := get(t, 200, "-I", backendAPI+"/test/bytes?n=1000")
				if length := r.header.Get("Content-Length"); length != "1000" {
					t.Errorf("Content-Length is %q, want 1000", length)
				}
			})
			for _, status := range []int{204, 304, 404, 500} {
				t.Run(fmt.Sprint(status), func(t *testing.T) {
					r := get(t, status, fmt.Sprintf("%s/test/status/%d", backendAPI, status))
					if empty := status == 204 || status == 304; empty != (r.body == "") {
						t.Errorf("the body is %q", r.body)
					}
				})
			}
			for _, uri := range []string{"/a%2Fb", "/a//b", "/a/./b/../c", "/caf%C3%A9%20?%zz&a=%;b", "/a?a=%zz;b", "/a?", "/a?x=1?y=2&&"} {
				t.Run("URI "+uri, func(t *testing.T) {
					p.fixture.backend.ResetRequests()
					get(t, 404, "--path-as-is", backendAPI+uri)
					for _, r := range p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion) {
						if r.RequestURI != "/backend-api"+uri {
							t.Errorf("the backend was asked for %s", r.RequestURI)
						}
					}
				})
			}
			for _, host := range []string{"api.chatgpt.com", "a.b.chatgpt.com", "chat.openai.com"} {
				t.Run("host "+host, func(t *testing.T) {
					p.fixture.backend.ResetRequests()
					get(t, 200, "https://"+host+"/backend-api/test/echo")
					for _, r := range p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion) {
						if r.Host != host || r.TLSServerName != host {
							t.Errorf("the backend was asked as %s, server name %s", r.Host, r.TLSServerName)
						}
					}
				})
			}
			t.Run("misdirected", func(t *testing.T) {
				p.fixture.backend.ResetRequests()
				r := get(t, 421, "-H", "Host: evil.example", backendAPI+"/test/echo")
				checkRefusal(t, r.body, "misdirected_request")
				if n := len(p.fixture.backend.Requests()); n != 0 {
					t.Errorf("%d requests reached the backend", n)
				}
			})
			p.fixture.backend.ResetRequests()
			t.Run("SSE", func(t *testing.T) { testCurlStream(t, p, protocol.option) })
		})
	}
}

// checkEcho checks what arrived of a GET of test/echo?q=1 with X-Mine: kept.
func checkEcho(t *testing.T, body string) {
	t.Helper()
	var echo struct {
		Method, URI string
		Headers     http.Header
	}
	if err := json.Unmarshal([]byte(body), &echo); err != nil {
		t.Fatal(err)
	}
	h := echo.Headers
	if echo.Method != "GET" || echo.URI != "/backend-api/test/echo?q=1" || h.Get("X-Mine") != "kept" ||
		!strings.HasPrefix(h.Get("Authorization"), "AgentAssertion ") || h["Chatgpt-Account-Id"] != nil {
		t.Errorf("the backend got %s", body)
	}
	for _, added := range []string{"Via", "Forwarded", "X-Forwarded-For", "Proxy-Authorization", "Proxy-Connection"} {
		if h[added] != nil {
			t.Errorf("the backend got %s: %q", added, h[added])
		}
	}
}

// uploaded is what test/upload says of content.
func uploaded(content []byte) string {
	return fmt.Sprintf(`"bytes":%d,"sha256":"%x"`, len(content), sha256.Sum256(content))
}

// checkRefusal checks a body that the proxy answers with.
func checkRefusal(t *testing.T, body, code string) {
	t.Helper()
	var refusal struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil {
		t.Errorf("the refusal is not JSON: %v: %q", err, body)
	} else if refusal.Error.Code != code || refusal.Error.Message == "" {
		t.Errorf("the proxy says %s, want code %s", body, code)
	}
}

// testCurlStream reads the first event of a stream whose second is an hour away,
// and hangs up: the event comes at once, and the backend hears of the end.
func testCurlStream(t *testing.T, p *proxy, option string) {
	cmd := command(t, p.env, systemProgram(t, "curl"), "-sSN", option, backendAPI+"/test/sse?n=2&interval_ms=3600000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "id: 0\n" || err != nil {
		t.Fatalf("the first line is %q, %v", line, err)
	}
	if r := p.fixture.backend.Requests(); len(r) != 1 || r[0].Done {
		t.Errorf("the event came when the stream was over: %+v", r)
	}
	if err := killGroup(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
}

// TestCurlExpect has curl wait for 100 Continue longer than the test may take.
func TestCurlExpect(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16+1) // from 1 MiB on curl asks
	for _, http1 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http1=%t", http1), func(t *testing.T) {
			t.Parallel()
			p := newFixture(t, fixtureConfig{backend: chatgpttest.Config{HTTP1Only: http1}}).serve(t)
			file := filepath.Join(t.TempDir(), "upload")
			writeFile(t, file, content)
			wait := []string{"--http1.1", "--expect100-timeout", "3600", "--data-binary", "@" + file}

			r := curl(t, p.env, append(wait, backendAPI+"/test/expect")...)
			if want := fmt.Sprintf(`"bytes":%d,`, len(content)); r.Code != 200 || !strings.Contains(r.body, want) {
				t.Errorf("status %d, %s; want 200 and %s", r.Code, r.body, want)
			}
			// Over HTTP/2 the backend's server keeps the header to itself.
			if http1 && !strings.Contains(r.body, `"expect":"100-continue"`) {
				t.Errorf("the backend saw no expectation: %s", r.body)
			}
			r = curl(t, p.env, append(wait, backendAPI+"/test/expect?refuse=1")...)
			if r.Code != 417 || r.Uploaded != 0 {
				t.Errorf("status %d after %d bytes, want 417 before any\n%s", r.Code, r.Uploaded, r.body)
			}
		})
	}
}
