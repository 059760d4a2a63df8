//go:build linux

package integration

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// metrics are the samples of one scrape, by name and labels as they are written.
type metrics map[string]float64

// scrape asks the admin port for the metrics, and wants promtool to find nothing
// wrong with them.
func scrape(t *testing.T, admin string) (m metrics, text string) {
	t.Helper()
	r := curl(t, baseEnv(t), "http://"+admin+"/metrics")
	if r.Code != 200 {
		t.Fatalf("/metrics: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	promtool := command(t, baseEnv(t), systemProgram(t, "promtool"), "check", "metrics")
	promtool.Stdin = strings.NewReader(r.body)
	if r := runCommand(t, promtool); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("promtool check metrics: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	m = make(metrics)
	for line := range strings.Lines(r.body) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		m[line[:i]] = value
	}
	return m, r.body
}

// TestMetrics sends requests of all kinds through the built program and compares
// what it counts.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration, yaml: "signer: {rules: [{path: /backend-api/wham/**, use: bearer}]}"})
	admin := f.adminOn(t)
	p := f.serve(t)
	client := p.client(t, "build-42")
	get := func(url string, want int) {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != want {
			t.Errorf("%s: %s, %v, want %d", url, response.Status, err, want)
		}
	}
	get(backendAPI+"/codex/models?client_version=1", 200)
	get(backendAPI+"/wham/accounts/check", 200)
	get(backendAPI+"/test/status/404", 404)
	get(backendAPI+"/test/status/418", 418)
	f.backend.ForgetTasks()
	get(backendAPI+"/codex/models?client_version=2", 200) // the second time
	get("http://chatgpt.com/", 403)
	p.refusedConnect(t, "other.example:443", "")
	f.backend.ForgetAccessTokens()
	get(backendAPI+"/wham/accounts/check?again", 200)
	ctx, socket := p.dialWebSocket(t, "/backend-api/test/ws-echo", websocket.CompressionDisabled)
	if err := socket.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(ctx); err != nil {
		t.Fatal(err)
	}

	now := time.Now()
	var got metrics
	wants := metrics{
		`agentproxy_ready{profile=""}`: 1,
		`agentproxy_requests_total{code="200",host="chatgpt.com",signer="agent-assertion"}`: 2,
		`agentproxy_requests_total{code="200",host="chatgpt.com",signer="bearer"}`:          2,
		`agentproxy_requests_total{code="404",host="chatgpt.com",signer="agent-assertion"}`: 1,
		`agentproxy_requests_total{code="4xx",host="chatgpt.com",signer="agent-assertion"}`: 1,
		`agentproxy_requests_total{code="403",host="other",signer="none"}`:                  1,
		`agentproxy_resent_requests_total{signer="agent-assertion"}`:                        1,
		`agentproxy_resent_requests_total{signer="bearer"}`:                                 1,
		`agentproxy_connects_total{code="403",host="other"}`:                                1,
		`agentproxy_refusals_total{code="host_refused"}`:                                    1,
		`agentproxy_refusals_total{code="plain_http_refused"}`:                              1,
		`agentproxy_time_to_first_byte_seconds_count{host="chatgpt.com"}`:                   6,
		`agentproxy_request_duration_seconds_count{host="chatgpt.com"}`:                     6,
		`agentproxy_exchanges_in_flight{kind="websocket"}`:                                  1,
		`agentproxy_exchanges_in_flight{kind="request"}`:                                    0,
		`agentproxy_exchanges_in_flight{kind="tunnel"}`:                                     0,
		`agentproxy_backend_requests_total{operation="register_agent",result="ok"}`:         1,
		`agentproxy_backend_requests_total{operation="refresh",result="ok"}`:                1,
		`agentproxy_backend_requests_total{operation="refresh",result="ended"}`:             0,
		`agentproxy_clock_offset_seconds`:                                                   0,
		`agentproxy_login_ended{profile=""}`:                                                0,
	}
	eventually(t, "the last request's end", func() bool { // which comes after its answer
		got, _ = scrape(t, admin)
		return got[`agentproxy_request_duration_seconds_count{host="chatgpt.com"}`] == 6
	})
	for name, want := range wants {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	for name, least := range map[string]float64{
		`agentproxy_backend_requests_total{operation="register_task",result="ok"}`: 2, // for the proxy and the label
		`agentproxy_backend_requests_total{operation="biscuit",result="ok"}`:       3,
		`agentproxy_signings_total{code="ok",signer="agent-assertion"}`:            4,
		`agentproxy_signings_total{code="ok",signer="bearer"}`:                     2,
		`agentproxy_received_bytes_total{kind="request"}`:                          5,
		`agentproxy_sent_bytes_total{kind="request"}`:                              100,
		`agentproxy_token_expiry_timestamp_seconds{profile=""}`:                    float64(now.Unix()),
		`agentproxy_ca_expiry_timestamp_seconds`:                                   float64(now.AddDate(9, 0, 0).Unix()),
		`go_goroutines`:                                                            5,
		`process_open_fds`:                                                         5,
		`process_start_time_seconds`:                                               float64(now.Add(-time.Hour).Unix()),
	} {
		if value := got[name]; value < least {
			t.Errorf("%s is %v, want at least %v", name, value, least)
		}
	}
	for name := range got {
		if strings.Contains(name, "build-42") || strings.Contains(name, "other.example") || strings.Contains(name, "account-123") {
			t.Errorf("%s has a label of a client's", name)
		}
	}

	// The log-in ends: it says so for as long as that is so.
	f.backend.RevokeRefreshTokens()
	f.backend.ForgetAccessTokens()
	get(backendAPI+"/wham/accounts/check?ended", http.StatusUnauthorized)
	got, _ = scrape(t, admin)
	if got[`agentproxy_login_ended{profile=""}`] != 1 || got[`agentproxy_backend_requests_total{operation="refresh",result="ended"}`] != 1 {
		t.Error("the metrics do not say that the log-in has ended")
	}
}

// TestMetricsOfProfiles has one of three agents without a log-in, which neither
// takes the proxy out of service nor goes unnoticed.
func TestMetricsOfProfiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: `clients: {trust_labels: true}
profiles:
  - {name: ci, labels: ["ci-*"], identity: {codex_home: /nonexistent}}
  - {name: review, labels: ["review-*"], signer: {use: bearer}}
  - {name: nobody, labels: [stranger], refuse: true}`})
	admin := f.adminOn(t)
	f.serve(t)
	// A scrape asks no signer. This one waits until the agent is registered.
	if r := curl(t, baseEnv(t), "http://"+admin+"/readyz"); r.Code != 200 {
		t.Errorf("/readyz: status %d\n%s", r.Code, r.body)
	}
	got, _ := scrape(t, admin)
	for name, want := range map[string]float64{
		`agentproxy_ready{profile=""}`: 1, `agentproxy_ready{profile="ci"}`: 0, `agentproxy_ready{profile="review"}`: 1,
		`agentproxy_login_ended{profile="ci"}`: 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	if _, ok := got[`agentproxy_token_expiry_timestamp_seconds{profile="ci"}`]; ok {
		t.Error("there is a token without a log-in")
	}
	r := curl(t, baseEnv(t), "http://"+admin+"/")
	for _, want := range []string{"2 of 3 agents", ">ci</th>", "no_login", "run codex login", ">review</th>", "Bearer"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %q in the page:\n%s", want, r.body)
		}
	}
}
