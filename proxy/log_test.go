package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// entries returns the lines of the access log as they are read by programs.
func entries(t *testing.T, log string) (list []map[string]any) {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(log)); lines.Scan(); {
		var entry map[string]any
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if entry["message"] == "exchange" {
			list = append(list, entry)
		}
	}
	return list
}

// TestAccessLog compares the lines of an exchange of each kind, and looks for
// every secret that was around.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	const proxyToken, clientToken, querySecret, bodySecret, cookie, answerSecret = "proxy-token-secret", "clients-own-secret",
		"query-secret", "body-secret", "cookie-secret", "answer-secret"
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Set-Cookie", answerSecret)
		_, _ = io.WriteString(w, answerSecret)
	})
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	var observed outcomeLog
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Clients.Token, c.Observe = proxyToken, observed.add
		c.Upstream.ConnectTo["tunnel.example:7"] = echo
		c.OtherHosts = OtherHosts{Refuse: true, Only: patterns(t, "tunnel.example:7")}
		c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
			switch r.Path {
			case "/unsigned":
				return nil, signer.Errorf(signer.NoTask, "no task yet")
			case "/panic":
				panic("the signer is broken")
			}
			return proxytest.Bearer(), nil
		})
	})
	c := p.clientAs(t, proxytest.H1, url.UserPassword("build-42", proxyToken))
	r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/a%2Fb?q="+querySecret, bytes.NewReader([]byte(bodySecret)))
	r.Header.Set("Authorization", "Bearer "+clientToken)
	r.Header.Set("Cookie", cookie)
	proxytest.ReadAll(t, proxytest.Do(t, c, r).Body)
	proxytest.Get(t, c, proxytest.Origin+"/unsigned?q="+querySecret)
	if res, err := c.Get(proxytest.Origin + "/panic?q=" + querySecret); err == nil {
		res.Body.Close()
		t.Error("answered")
	}
	if res, err := c.Get("https://refused.example/?q=" + querySecret); err == nil {
		res.Body.Close()
		t.Error("answered")
	}
	proxytest.Get(t, c, "http://chatgpt.com/plain?q="+querySecret)
	proxytest.ReadAll(t, proxytest.Get(t, p.clientAs(t, proxytest.H1, url.UserPassword("x", "wrong-password-secret")), "http://plain.example/").Body)

	tunnel := p.dial(t)
	tunnel.Send(t, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("build-42", proxyToken))
	if res := tunnel.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	tunnel.Send(t, bodySecret)
	tunnel.Expect(t, bodySecret)
	closeWriteOf(t, tunnel.Conn)
	tunnel.ExpectEOF(t)
	p.logged(t, `"kind":"tunnel","client":"build-42","host":"tunnel.example:7"`)
	p.cutNow()

	log := p.log.String()
	for _, secret := range []string{
		proxytest.AccessToken, proxyToken, clientToken, querySecret, bodySecret, cookie, answerSecret, "wrong-password-secret",
		proxytest.BasicAuth("build-42", proxyToken), "Bearer ", "?q",
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	request := func(method, path string) map[string]any {
		return map[string]any{"level": "info", "kind": "request", "client": "build-42", "host": "chatgpt.com:443", "method": method, "path": path}
	}
	with := func(entry map[string]any, more ...any) map[string]any {
		for i := 0; i < len(more); i += 2 {
			entry[more[i].(string)] = more[i+1]
		}
		return entry
	}
	sent := float64(len(answerSecret))
	body := float64(len(bodySecret))
	want := []map[string]any{
		with(request("POST", "/a%2Fb"), "signed", "Bearer", "status", 200., "received", body, "sent", sent),
		with(request("GET", "/unsigned"), "level", "warn", "status", 503., "refused", "no_task"),
		with(request("GET", "/panic"), "status", 0., "failure", "internal error", "cut_by", "proxy"),
		{"level": "warn", "kind": "tunnel", "client": "build-42", "host": "refused.example:443", "method": "CONNECT", "status": 403., "refused": "host_refused"},
		{"level": "warn", "kind": "plain", "client": "build-42", "host": "chatgpt.com:80", "method": "GET", "path": "/plain", "status": 403., "refused": "plain_http_refused"},
		{"level": "warn", "kind": "plain", "method": "GET", "status": 407., "refused": "proxy_auth_required"},
		{"level": "info", "kind": "tunnel", "client": "build-42", "host": "tunnel.example:7", "method": "CONNECT", "status": 200., "received": body, "sent": body},
	}
	var got []map[string]any
	for _, entry := range entries(t, log) {
		if entry["kind"] == KindConnect {
			continue
		}
		if (entry["refused"] != nil) != (entry["reason"] != nil) || entry["duration"] == nil {
			t.Errorf("a line without a reason or a duration: %v", entry)
		}
		if entry["refused"] != nil {
			delete(entry, "sent")
		}
		delete(entry, "duration")
		delete(entry, "reason")
		delete(entry, "message")
		got = append(got, entry)
	}
	zero := cmpopts.IgnoreMapEntries(func(k string, v any) bool { return (k == "sent" || k == "received") && v == 0. })
	// A line is written after the client has its answer: their order may differ.
	inOrder := cmpopts.SortSlices(func(a, b map[string]any) bool {
		return fmt.Sprint(a["host"], a["path"]) < fmt.Sprint(b["host"], b["path"])
	})
	if diff := cmp.Diff(want, got, zero, inOrder); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
	var logged []map[string]any
	for _, o := range observed.logged() {
		entry := map[string]any{"kind": o.Kind, "method": o.Method, "status": float64(o.Status)}
		for name, value := range map[string]string{"client": o.Client, "host": o.Host, "path": o.Path, "signed": string(o.Scheme), "refused": o.Refused, "failure": o.Failure, "cut_by": o.CutBy} {
			if value != "" {
				entry[name] = value
			}
		}
		logged = append(logged, entry)
	}
	onlyThere := cmpopts.IgnoreMapEntries(func(k string, _ any) bool { return k == "level" || k == "sent" || k == "received" })
	if diff := cmp.Diff(want, logged, onlyThere, inOrder); diff != "" {
		t.Errorf("what is observed of what is logged (-want +got):\n%s", diff)
	}
}

// outcomeLog keeps outcomes. It is safe for concurrent use.
type outcomeLog struct {
	mu  sync.Mutex
	all []Outcome
}

func (l *outcomeLog) add(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, o)
}

// logged returns the outcomes that the log has lines of.
func (l *outcomeLog) logged() []Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.all), func(o Outcome) bool { return !o.Logged })
}
