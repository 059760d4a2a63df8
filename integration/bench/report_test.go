//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reportOf is a report with the given medians of one column, the tables' ids
// and programs separated by a slash.
func reportOf(figures map[string]map[string]float64) *report {
	r := &report{plan: "quick", machine: machine{CPU: "a CPU", Cores: 2, Kernel: "6.1", Go: "go1.26"}}
	for _, s := range scenarios {
		t := &table{scenario: s}
		for _, program := range s.programs {
			if m := figures[s.id+"/"+program]; m != nil {
				w := &row{program: program, rounds: make(map[string][]float64)}
				w.add(m)
				t.rows = append(t.rows, w)
			}
		}
		if t.rows != nil {
			r.tables = append(r.tables, t)
		}
	}
	return r
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}, {nil, 0}} {
		values := slices.Clone(test.values)
		if got := median(values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
		if !slices.Equal(values, test.values) {
			t.Errorf("median has changed %v to %v", test.values, values)
		}
	}
}

func TestFormatFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.324: "0.32", 9.87: "9.87", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 29092: "29,092", 1234567: "1,234,567", -40.8: "-40.8", -12345: "-12,345",
	} {
		if got := formatFigure(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := reportOf(map[string]map[string]float64{
		"h1-16/direct":     {keyRate: 40000},
		"h1-16/nginx":      {keyRate: 20000, keyCPU: 40},
		"h1-16/agentproxy": {keyRate: 18000, keyCPU: 56},
		"sse/direct":       {keyFirstP50: 300},
		"sse/nginx":        {keyFirstP50: 500},
		"sse/agentproxy":   {keyFirstP50: 699},
	})
	h1 := r.table(idH1)
	h1.row(agentproxy).add(metrics{keyRate: 16000, keyCPU: 60})
	h1.row(agentproxy).add(metrics{keyRate: 17000, keyCPU: 64})
	h1.rows = append(h1.rows, &row{program: squid, missing: "not installed"}, &row{program: goproxy, failure: "connection 3 | 16: refused"})
	var b strings.Builder
	r.writeMarkdown(&b)
	for _, want := range []string{
		"a CPU, 2 cores, Linux 6.1, go1.26; quick run.\n",
		"### Keep-alive GET, HTTP/1.1, 16 connections\n\n| program | requests/s | p50 µs |",
		"| direct | 40,000 (2.00 n) | – |",
		"| nginx | 20,000 (0.50 d) | – | – | 40.0 | – |\n",
		"| agentproxy | 17,000 (0.85 n, 0.42 d) | – | – | 60.0 (1.50 n) | – |\n",
		"| squid | not installed | | | | |\n",
		"| goproxy | connection 3 / 16: refused | | | | |\n",
		"| keep-alive h1, 16 connections: requests/s against nginx | ≥ 0.65 | 0.85 | reached |\n",
		"| keep-alive h1: requests/s against squid | ≥ 1 | – | not measured |\n",
		"| nginx | 500 (+200) |", "| agentproxy | 699 (+399, 2.00 n) |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not in the report: %q", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

func TestGoals(t *testing.T) {
	r := reportOf(map[string]map[string]float64{
		"h1-16/agentproxy":        {keyRate: 1000},
		"h1-16/mitmproxy":         {keyRate: 100},
		"rate-h1/direct":          {keyP99: 300},
		"rate-h1/nginx":           {keyP99: 500},
		"rate-h1/agentproxy":      {keyP99: 699},
		"sse/agentproxy":          {keyCPU: 30},
		"idle/agentproxy":         {keyEach: 31},
		"start-up/direct":         {keyWall: 2},
		"start-up/agentproxy":     {keyWall: 30, keyPeakRSS: 24},
		"start-up-off/direct":     {keyWall: 2},
		"start-up-off/agentproxy": {keyWall: 30},
		"download/direct":         {keyMBRate: 1000},
		"download/agentproxy":     {keyMBRate: 560, keyMBCPU: 800},
		"download/goproxy":        {keyMBCPU: 1000},
		"connect-full/nginx":      {keyRate: 1000},
		"connect-resumed/nginx":   {keyRate: 1000},
	})
	got := make(map[string]reached)
	for _, result := range r.reach() {
		got[result.Work] = result
	}
	for work, want := range map[string]reached{
		"keep-alive h1: requests/s against mitmproxy":          {Goal: "≥ 1", Measured: true, Figure: 10, Reached: true},
		"3,000 requests/s, HTTP/1.1: added p99":                {Goal: "≤ 500 µs", Measured: true, Figure: 399, Reached: true},
		"3,000 requests/s, HTTP/1.1: added p99 against nginx":  {Goal: "≤ 1.5", Measured: true, Figure: 1.995},
		"idle intercepted connections: memory each":            {Goal: "≤ 17 kB", Measured: true, Figure: 31},
		"run -- true: time beyond env /bin/true":               {Goal: "≤ 35 ms", Measured: true, Figure: 28, Reached: true},
		"run --isolate off -- true: time beyond env /bin/true": {Goal: "≤ 20 ms", Measured: true, Figure: 28},
		"run -- true: peak RSS":                                {Goal: "≤ 25 MB", Measured: true, Figure: 24, Reached: true},
		"20 MB download: CPU per MB against a bare goproxy":    {Goal: "≤ 1", Measured: true, Figure: 0.8, Reached: true},
		"1,000 streams: CPU per event against nginx":           {Goal: "≤ 1.1"},
	} {
		if want.Work = work; got[work] != want {
			t.Errorf("%+v, want %+v", got[work], want)
		}
	}
}

func TestReportErr(t *testing.T) {
	r := reportOf(map[string]map[string]float64{"h1-16/agentproxy": {keyRate: 1}})
	if err := r.err(false); err != nil {
		t.Errorf("a complete report: %v", err)
	}
	r.tables[0].rows = append(r.tables[0].rows, &row{program: squid, missing: "not installed"})
	if r.err(false) == nil || r.err(true) != nil {
		t.Error("a missing rival is an error unless it is allowed")
	}
	r.tables[0].rows[0].failure = "refused"
	if r.err(true) == nil {
		t.Error("a failure is no error")
	}
}

func TestWriteJSON(t *testing.T) {
	r := reportOf(map[string]map[string]float64{"h1-16/agentproxy": {keyRate: 1000}, "h1-16/nginx": {keyRate: 2000}})
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := r.writeJSON(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got jsonReport
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	ours := got.Scenarios[0].Programs[1]
	if figure := ours.Figures[keyRate]; ours.Name != agentproxy || figure.Median != 1000 || figure.ToNginx == nil || *figure.ToNginx != 0.5 || figure.ToDirect != nil {
		t.Errorf("%s", raw)
	}
	if len(got.Reach) != len(goals) {
		t.Errorf("%d goals, want %d", len(got.Reach), len(goals))
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel(strings.NewReader("processor\t: 0\nmodel name\t: A CPU: fast\n\nprocessor\t: 1\nmodel name\t: B\n")); got != "A CPU: fast" {
		t.Errorf("the CPU is %q", got)
	}
	if got := cpuModel(strings.NewReader("")); got != "unknown" {
		t.Errorf("the CPU is %q", got)
	}
}
