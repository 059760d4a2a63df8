//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	prometheusFiles = "../deploy/prometheus"
	dashboardFile   = "../deploy/grafana/agentproxy.json"
)

// TestAlerts has promtool check the alert rules and the configuration, and play
// the cases of alerts_test.yml.
func TestAlerts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"prometheus.yml", "alerts.yml", "alerts_test.yml"} {
		writeFile(t, filepath.Join(dir, name), []byte(readFile(t, filepath.Join(prometheusFiles, name))))
	}
	writeFile(t, filepath.Join(dir, "agentproxy-token"), []byte("token")) // which it looks for
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", filepath.Join(dir, "alerts.yml")},
		{"check", "config", filepath.Join(dir, "prometheus.yml")},
		{"test", "rules", filepath.Join(dir, "alerts_test.yml")},
	} {
		mustRun(t, baseEnv(t), systemProgram(t, "promtool"), args...)
	}
	// Every alert has its case and its line in the documents.
	cases := readFile(t, filepath.Join(prometheusFiles, "alerts_test.yml"))
	documented := readFile(t, "../docs/metrics.md")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(readFile(t, filepath.Join(prometheusFiles, "alerts.yml")), -1) {
		if !strings.Contains(cases, `alertname="`+m[1]+`"`) {
			t.Errorf("%s is not tested", m[1])
		}
		if !strings.Contains(documented, "| `"+m[1]+"` |") {
			t.Errorf("%s is not in docs/metrics.md", m[1])
		}
	}
}

// dashboard is what a test looks at of a Grafana dashboard.
type dashboard struct {
	Panels []struct {
		ID          int
		Type, Title string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Datasource  *struct{ UID string }
		Targets     []struct {
			Expr       string
			Datasource struct{ UID string }
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(readFile(t, dashboardFile)), &d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return d
}

// TestDashboardLayout looks for what Grafana would show oddly or not at all.
func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	taken, ids := make(map[[2]int]string), make(map[int]bool)
	for _, p := range readDashboard(t).Panels {
		if p.Title == "" || ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: an id or a title is missing, or it is too wide: %+v", p.ID, p.Title, p.GridPos)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panel %q lies over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q lacks a description, a query or the data source", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q: a query asks %q", p.Title, target.Datasource.UID)
			}
		}
	}
}

// prometheus is a running Prometheus.
type prometheus struct{ address string }

// startPrometheus starts Prometheus with the configuration and the alerts of
// deploy/prometheus, for the proxy whose admin port is given.
func startPrometheus(t *testing.T, admin, token string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config := strings.NewReplacer("proxy.internal:9080", admin, "15s", "500ms").Replace(readFile(t, filepath.Join(prometheusFiles, "prometheus.yml")))
	writeFile(t, filepath.Join(dir, "prometheus.yml"), []byte(config))
	writeFile(t, filepath.Join(dir, "alerts.yml"), []byte(readFile(t, filepath.Join(prometheusFiles, "alerts.yml"))))
	writeFile(t, filepath.Join(dir, "agentproxy-token"), []byte(token))
	address := freeAddress(t)
	cmd := command(t, baseEnv(t), systemProgram(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("prometheus:\n%s", readFile(t, log.Name()))
		}
	})
	return &prometheus{address}
}

// ask asks the HTTP API and reads the data of its answer. It reports whether there
// was any.
func (p *prometheus) ask(t *testing.T, path string, data any) bool {
	t.Helper()
	response, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return false // it is about to start
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusServiceUnavailable {
		return false
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		t.Fatalf("Prometheus' %s: %v %s", path, err, body)
	}
	return true
}

// value returns the first number that an expression yields.
func (p *prometheus) value(t *testing.T, expr string) (float64, bool) {
	t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	if !p.ask(t, "query?query="+url.QueryEscape(expr), &data) || len(data.Result) == 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(fmt.Sprint(data.Result[0].Value[1]), 64)
	return n, err == nil && !math.IsNaN(n)
}

// TestPrometheus has Prometheus scrape the built program while requests of all
// kinds pass. Every query of the dashboard must yield numbers, and every alert
// be evaluated.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	const token = "prometheus-token-7d1f"
	file := filepath.Join(t.TempDir(), "admin-token")
	writeFile(t, file, []byte(token))
	authz := freeAddress(t)
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration, yaml: fmt.Sprintf("admin_token_file: %q\nauthz: {listen: %q}", file, authz)})
	admin := f.adminOn(t)
	p := f.serve(t)
	prometheus := startPrometheus(t, admin, token)
	eventually(t, "the first scrape", func() bool {
		up, ok := prometheus.value(t, `up{job="agentproxy"}`)
		return ok && up == 1
	})

	queries := make(map[string]string)
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			queries[strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr)] = panel.Title
		}
	}
	if len(queries) < 20 {
		t.Fatalf("the dashboard has %d queries", len(queries))
	}
	client := p.client(t, "build-42")
	get := func(url string) {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close() // of a stream that goes on: it is cut
	}
	get(backendAPI + "/codex/models?client_version=1")
	turn, err := client.Post(backendAPI+"/codex/responses", "application/json", strings.NewReader(`{"model":"m","input":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	turn.Body.Close() // its header says what is left of the account's allowance
	f.backend.ForgetTasks()
	defer func() {
		if t.Failed() {
			t.Logf("without a number: %q", queries)
		}
	}()
	eventually(t, "numbers for every query", func() bool {
		get(backendAPI + "/codex/models?client_version=2")
		get(backendAPI + "/test/sse?n=2&interval_ms=3600000")
		get("http://chatgpt.com/")
		p.refusedConnect(t, "other.example:443", "")
		curl(t, baseEnv(t), "http://"+authz+"/ext-authz/chatgpt.com/backend-api/codex/models")
		maps.DeleteFunc(queries, func(query, _ string) bool {
			_, ok := prometheus.value(t, query)
			return ok
		})
		return len(queries) == 0
	})

	type rule struct{ Name, Health, LastError, State string }
	var rules struct{ Groups []struct{ Rules []rule } }
	eventually(t, "the evaluation of all alerts", func() bool {
		return prometheus.ask(t, "rules", &rules) && len(rules.Groups) == 1 &&
			!slices.ContainsFunc(rules.Groups[0].Rules, func(r rule) bool { return r.Health == "unknown" })
	})
	if n := len(rules.Groups[0].Rules); n < 10 {
		t.Errorf("%d alerts", n)
	}
	for _, r := range rules.Groups[0].Rules {
		if r.Health != "ok" || r.State == "firing" {
			t.Errorf("%+v", r)
		}
	}
	// What alerts ask for is there: a name that is spelt wrong never fires.
	for _, name := range regexp.MustCompile(`agentproxy_\w+`).FindAllString(readFile(t, filepath.Join(prometheusFiles, "alerts.yml")), -1) {
		if _, ok := prometheus.value(t, name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
}
