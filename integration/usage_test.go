//go:build linux

package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// usageLine is a line of usage.file.
type usageLine struct {
	Client, Profile, Model string
	Input                  int `json:"input_tokens"`
	Cached                 int `json:"cached_tokens"`
	Output                 int `json:"output_tokens"`
}

// TestUsage has a thousand turns, over server-sent events and WebSockets, compressed and
// not, and compares what the proxy noted with what the stand-in said.
func TestUsage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "usage.jsonl")
	const secret = "the answer that nobody else is to read"
	f := newFixture(t, fixtureConfig{
		backend: chatgpttest.Config{Reply: secret},
		yaml:    fmt.Sprintf("usage: {file: %q}\nclients: {trust_labels: true, token: x}\nprofiles: [{name: builds, labels: [\"b-*\"]}]", file),
	})
	f.adminOn(t)
	f.backend.SetUsage(func(n int) chatgpttest.Usage {
		return chatgpttest.Usage{Model: fmt.Sprintf("model-%d", n%3), Input: 1000 + n, Cached: n % 100, Output: 1 + n%50}
	})
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	roots := p.roots(t)
	client := func(label string) *http.Client {
		via := &url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(label, "x")}
		transport := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, DisableCompression: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	const request = `{"model":"asked","stream":true,"input":[{"type":"message","role":"user","content":[]}]}`
	const target = "https://chatgpt.com/backend-api/codex/responses"

	const each = 250
	sse := client("a-1")
	for range 2 * each {
		res, err := sse.Post(target, "application/json", strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", res.Status, err)
		}
		res.Body.Close()
	}
	message := []byte(`{"type":"response.create",` + request[1:])
	for _, compression := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		conn, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(target, "https"), &websocket.DialOptions{HTTPClient: client("b-2"), CompressionMode: compression})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		for range each {
			if err := conn.Write(t.Context(), websocket.MessageText, message); err != nil {
				t.Fatal(err)
			}
			for ended := false; !ended; {
				_, event, err := conn.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ended = bytes.Contains(event, []byte(`"type":"response.completed"`))
			}
		}
		if err := closeSocket(conn, websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	}

	var lines []usageLine
	eventually(t, "a line for each turn", func() bool {
		lines = nil
		raw, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		for line := range bytes.Lines(raw) {
			var l usageLine
			if json.Unmarshal(line, &l) == nil {
				lines = append(lines, l)
			}
		}
		return len(lines) == 4*each
	})
	sent := f.backend.Used()
	if len(sent) != len(lines) {
		t.Fatalf("%d lines, %d responses", len(lines), len(sent))
	}
	var input, cached, output int
	for i, l := range lines {
		want := usageLine{"a-1", "", sent[i].Model, sent[i].Input, sent[i].Cached, sent[i].Output}
		if i >= 2*each {
			want.Client, want.Profile = "b-2", "builds"
			input, cached, output = input+want.Input, cached+want.Cached, output+want.Output
		}
		if l != want {
			t.Fatalf("line %d is %+v, want %+v", i, l, want)
		}
	}

	metrics := p.askAdmin(t, "/metrics")
	for _, want := range []string{
		fmt.Sprintf(`agentproxy_model_responses_total{profile="builds"} %d`, 2*each),
		fmt.Sprintf(`agentproxy_model_tokens_total{kind="input",profile="builds"} %s`, metricValue(input)),
		fmt.Sprintf(`agentproxy_model_tokens_total{kind="cached",profile="builds"} %s`, metricValue(cached)),
		fmt.Sprintf(`agentproxy_model_tokens_total{kind="output",profile="builds"} %s`, metricValue(output)),
		`agentproxy_quota_used_ratio{profile="builds",window="primary"} 0.12`,
		`agentproxy_quota_used_ratio{profile="",window="secondary"} 0.34`,
		`agentproxy_usage_lines_lost_total 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in\n%s", want, regexp.MustCompile(`(?m)^(#|go_|process_).*\n`).ReplaceAllString(metrics, ""))
		}
	}
	if !strings.Contains(metrics, `agentproxy_quota_reset_timestamp_seconds{profile="builds",window="primary"} `) {
		t.Error("the metrics do not say when the allowance is whole again")
	}
	status := p.askAdmin(t, "/status.json")
	if !strings.Contains(status, `"used_percent": 12`) {
		t.Errorf("the status is %s", status)
	}
	if top := mustRun(t, baseEnv(t), agentproxy, "top", "--config", f.config); !strings.Contains(top, "12% of 5 hours, 34% of 7 days") {
		t.Errorf("top shows\n%s", top)
	}
	if check := run(t, baseEnv(t), agentproxy, "check", "--config", f.config); !strings.Contains(check.stdout, "used at ChatGPT: 12% of 5 hours until ") {
		t.Errorf("check says\n%s%s", check.stdout, check.stderr)
	}

	// The account's limit is told from ours.
	f.backend.SetUsedPercent(100, 40)
	for range 3 {
		res, err := client("a-1").Post(target, "application/json", strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s", res.Status)
		}
	}
	const told = "the account's allowance at ChatGPT is used up"
	eventually(t, "what a 429 means in the log", func() bool { return strings.Contains(p.log.String(), told) })
	if n := strings.Count(p.log.String(), told); n != 1 {
		t.Errorf("told %d times", n)
	}
	if check := run(t, baseEnv(t), agentproxy, "check", "--config", f.config); !strings.Contains(check.stdout, "used up at ChatGPT: 100% of 5 hours") {
		t.Errorf("check says\n%s%s", check.stdout, check.stderr)
	}

	// Nothing of a body is anywhere.
	for name, text := range map[string]string{"the usage file": readFile(t, file), "the log": p.log.String(), "the metrics": metrics, "the status": status} {
		if strings.Contains(text, secret) || strings.Contains(text, "output_text") {
			t.Errorf("%s holds something of a response", name)
		}
	}
}

// metricValue is a number as the metrics have it.
func metricValue(n int) string {
	text := fmt.Sprintf("%d", n)
	if len(text) > 6 {
		mantissa := strings.TrimRight(text[1:], "0")
		return text[:1] + "." + mantissa + fmt.Sprintf("e+%02d", len(text)-1)
	}
	return text
}
