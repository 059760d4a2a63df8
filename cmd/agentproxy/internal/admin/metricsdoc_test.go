package admin

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var desc = regexp.MustCompile(`^Desc\{fqName: "(agentproxy_\w+)", help: "([^"]*)", unit: "", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// metricRows returns a row for every metric of the program.
func metricRows(t *testing.T) (rows []string) {
	t.Helper()
	m := NewMetrics()
	m.registry.MustRegister(&stateCollector{})
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		m.registry.Describe(descs)
	}()
	for d := range descs {
		m := desc.FindStringSubmatch(d.String())
		if m == nil {
			if !strings.Contains(d.String(), `fqName: "go_`) && !strings.Contains(d.String(), `fqName: "process_`) {
				t.Errorf("not understood: %s", d)
			}
			continue
		}
		labels := regexp.MustCompile(`="[^"]*"`).ReplaceAllString(m[3]+m[4], "") // of constant ones the names
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", m[1], strings.ReplaceAll(labels, ",", ", "), m[2]))
	}
	slices.Sort(rows)
	return rows
}

// TestMetricsAreDocumented compares the table in docs/metrics.md with what the
// program has.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "| `agentproxy_") {
			rows = append(rows, strings.Replace(strings.TrimSpace(line), "` | | ", "` |  | ", 1))
		}
	}
	if diff := cmp.Diff(metricRows(t), rows); diff != "" {
		t.Errorf("docs/metrics.md (-program +docs):\n%s", diff)
	}
}
