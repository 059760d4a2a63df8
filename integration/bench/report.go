//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// report is what a run has found.
type report struct {
	plan     string
	machine  machine
	versions []version
	tables   []*table
}

// machine is where the run was made. Figures of two machines do not compare;
// ratios do, more or less.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

type version struct{ program, called string }

// table is a scenario's figures.
type table struct {
	scenario *scenario
	rows     []*row
}

// row is a program's figures in a scenario.
type row struct {
	program string
	missing string               // why the program is not there
	failure string               // why it did not get to the end
	again   bool                 // it was prepared a second time
	rounds  map[string][]float64 // by the keys of the columns
}

// column is a kind of figure.
type column struct{ key, title string }

func newReport(b *bench) *report {
	r := &report{plan: b.plan.name, machine: thisMachine()}
	for _, p := range b.programs {
		if p.called != "" {
			r.versions = append(r.versions, version{p.name, p.called})
		}
	}
	return r
}

func thisMachine() machine {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version()}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(raw)), "-") // what follows tells of who built it
	}
	if info, err := os.Open("/proc/cpuinfo"); err == nil {
		defer info.Close()
		m.CPU = cpuModel(info)
	}
	return m
}

// cpuModel reads the processor's name from /proc/cpuinfo.
func cpuModel(info io.Reader) string {
	for lines := bufio.NewScanner(info); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func (w *row) fail(err error) {
	w.failure, _, _ = strings.Cut(err.Error(), "\n")
}

func (w *row) add(m metrics) {
	for key, value := range m {
		w.rounds[key] = append(w.rounds[key], value)
	}
}

// figure returns the median of the rounds.
func (w *row) figure(key string) (float64, bool) {
	if w == nil || w.failure != "" || len(w.rounds[key]) == 0 {
		return 0, false
	}
	return median(w.rounds[key]), true
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// row returns the row of a program, nil if there is none.
func (t *table) row(program string) *row {
	for _, w := range t.rows {
		if w.program == program {
			return w
		}
	}
	return nil
}

// ratio returns a program's figure as a multiple of another one's.
func (t *table) ratio(program, other, key string) (float64, bool) {
	a, ok := t.row(program).figure(key)
	b, okOther := t.row(other).figure(key)
	if !ok || !okOther || b == 0 {
		return 0, false
	}
	return a / b, true
}

// figure returns a figure of the report.
func (r *report) figure(scenario, program, key string) (float64, bool) {
	if t := r.table(scenario); t != nil {
		return t.row(program).figure(key)
	}
	return 0, false
}

func (r *report) ratio(scenario, program, other, key string) (float64, bool) {
	if t := r.table(scenario); t != nil {
		return t.ratio(program, other, key)
	}
	return 0, false
}

func (r *report) table(scenario string) *table {
	for _, t := range r.tables {
		if t.scenario.id == scenario {
			return t
		}
	}
	return nil
}

// err says what the report lacks.
func (r *report) err(allowMissing bool) error {
	var problems []string
	seen := make(map[string]bool)
	for _, t := range r.tables {
		for _, w := range t.rows {
			switch {
			case w.failure != "":
				problems = append(problems, fmt.Sprintf("%s, %s: %s", t.scenario.id, w.program, w.failure))
			case w.missing != "" && !allowMissing && !seen[w.program]:
				seen[w.program] = true
				problems = append(problems, w.program+" is "+w.missing+"; BENCH_ALLOW_MISSING=1 does without")
			}
		}
	}
	if problems == nil {
		return nil
	}
	return fmt.Errorf("the report is not complete: %s", strings.Join(problems, "; "))
}

// writeMarkdown prints the report for people.
func (r *report) writeMarkdown(w io.Writer) {
	r.writeHead(w)
	for _, t := range r.tables {
		t.writeMarkdown(w)
	}
	writeReach(w, r.reach())
}

func (r *report) writeHead(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, Linux %s, %s; %s run.\n", r.machine.CPU, r.machine.Cores, r.machine.Kernel, r.machine.Go, r.plan)
	for _, v := range r.versions {
		fmt.Fprintf(w, "%s: %s.\n", v.program, v.called)
	}
	fmt.Fprint(w, "\nIn parentheses: the figure as a multiple of nginx's (n) and of that without a proxy (d); or what the program adds (+) to that,\n"+
		"and that as a multiple of what nginx adds.\n")
}

func (t *table) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n| program |", t.scenario.title)
	for _, c := range t.scenario.columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(t.scenario.columns)))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |", row.program)
		if said := row.missing + row.failure; said != "" {
			fmt.Fprintf(w, " %s |%s\n", strings.ReplaceAll(said, "|", "/"), strings.Repeat(" |", len(t.scenario.columns)-1))
			continue
		}
		for _, c := range t.scenario.columns {
			fmt.Fprintf(w, " %s |", t.cell(row, c.key))
		}
		fmt.Fprintln(w)
	}
}

// timeKeys are the keys of the times that a program adds something to.
var timeKeys = []string{keyP50, keyP99, keyFirstP50, keyFirstP99}

// cell is a figure with its ratios. Of times in paced work it has what the program adds, and
// the ratio to what nginx adds.
func (t *table) cell(w *row, key string) string {
	value, ok := w.figure(key)
	if !ok {
		return "–"
	}
	text := formatFigure(value)
	if added, ok := t.added(w.program, key); ok && w.program != direct {
		text += " (+" + formatFigure(added)
		if theirs, ok := t.added(nginx, key); ok && w.program != nginx {
			text += ", " + formatRatio(added/max(theirs, 1)) + " n"
		}
		return text + ")"
	}
	var ratios []string
	for _, other := range []struct{ program, letter string }{{nginx, "n"}, {direct, "d"}} {
		if ratio, ok := t.ratio(w.program, other.program, key); ok && other.program != w.program && key != keyResumed {
			ratios = append(ratios, formatRatio(ratio)+" "+other.letter)
		}
	}
	if ratios == nil {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, strings.Join(ratios, ", "))
}

// added returns what a program adds to a time without a proxy, if that is what counts.
func (t *table) added(program, key string) (float64, bool) {
	if !t.scenario.paced || !slices.Contains(timeKeys, key) {
		return 0, false
	}
	ours, ok := t.row(program).figure(key)
	without, okWithout := t.row(direct).figure(key)
	return max(0, ours-without), ok && okWithout
}

// pageKeys are the keys of the figures that the page has. p50 and p99 are there for paced work.
var pageKeys = []string{keyTurnCPU, keyCPU, keyRate, keyMBCPU, keyMBRate, keyEach, keyWall, keyCold, keyPeakRSS, keyFresh, keyCached}

func (t *table) onPage(key string) bool {
	if slices.Contains(t.scenario.programs, withUsage) {
		return false // it compares agentproxy with itself
	}
	if t.scenario.paced && key == keyCPU && slices.Contains(t.scenario.columns, turnColumns[0]) {
		return false
	}
	return slices.Contains(pageKeys, key) || t.scenario.paced && (key == keyP99 || key == keyP50)
}

// writeSummary prints the figures that matter most in one table, for the page.
func (r *report) writeSummary(w io.Writer) {
	programs := []string{direct, nginx, agentproxy, squid, goproxy, mitmproxy, copying}
	programs = slices.DeleteFunc(programs, func(p string) bool {
		return !slices.ContainsFunc(r.tables, func(t *table) bool { return t.row(p) != nil })
	})
	fmt.Fprintf(w, "\n| work | | %s |\n| --- | --- |%s\n", strings.Join(programs, " | "), strings.Repeat(" ---: |", len(programs)))
	for _, t := range r.tables {
		title := t.scenario.title
		for _, c := range t.scenario.columns {
			if !t.onPage(c.key) {
				continue
			}
			fmt.Fprintf(w, "| %s | %s |", title, c.title)
			for _, p := range programs {
				text := ""
				if row := t.row(p); row != nil {
					if text = t.cell(row, c.key); text == "–" {
						text = ""
					}
				}
				fmt.Fprintf(w, " %s |", text)
			}
			fmt.Fprintln(w)
			title = ""
		}
	}
}

// formatFigure writes three digits or more, and no more than make sense.
func formatFigure(v float64) string {
	switch {
	case v >= 1000 || v <= -1000:
		return groupThousands(strconv.FormatFloat(v, 'f', 0, 64))
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

func formatRatio(v float64) string {
	if v >= 10 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func groupThousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
