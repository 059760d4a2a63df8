package scale

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md anew")

const document = "../../docs/scale.md"

var fleets = []int{10, 1000, 100_000}

// TestDocument compares the tables of docs/scale.md with what the model and the
// simulation make of its inputs.
func TestDocument(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	in := readInputs(t, string(raw))
	tables := map[string]func(*testing.T, inputs) string{
		"capacity": capacityTable, "streams": streamsTable, "tasks": tasksTable, "forgotten": forgottenTable, "logins": loginsTable,
		"limits": limitsTable, "exchanges": exchangesTable, "allowance": allowanceTable,
	}
	table := regexp.MustCompile(`(?s)(<!-- table (\w+) -->\n).*?(<!-- end -->)`)
	seen := 0
	want := table.ReplaceAllStringFunc(string(raw), func(block string) string {
		m := table.FindStringSubmatch(block)
		make, ok := tables[m[2]]
		if !ok {
			t.Fatalf("%s has a table %s, which is none", document, m[2])
		}
		seen++
		return m[1] + "\n" + make(t, in) + "\n" + m[3]
	})
	if seen != len(tables) {
		t.Errorf("%s has %d of %d tables", document, seen, len(tables))
	}
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Errorf("the tables of %s are not what the model gives; run: go test ./integration/scale -update", document)
	}
}

// inputs are those of the document, and what the program itself says.
type inputs struct {
	Inputs
	registrations, latency, tokenDays float64
	tasks                             Tasks
	refreshMargin                     float64
}

// readInputs reads the first table of the document.
func readInputs(t *testing.T, text string) inputs {
	t.Helper()
	values := make(map[string]float64)
	row := regexp.MustCompile(`(?m)^\| ([a-z_]+) \| ([0-9.]+) \|`)
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		values[m[1]] = value
	}
	take := func(name string) float64 {
		value, ok := values[name]
		if !ok {
			t.Fatalf("%s has no input %s", document, name)
		}
		delete(values, name)
		return value
	}
	in := inputs{registrations: take("registrations_per_second"), latency: take("registration_seconds"), tokenDays: take("access_token_days")}
	of := reflect.ValueOf(&in.Inputs).Elem()
	word := regexp.MustCompile(`[A-Z][a-z]*`)
	for i := range of.NumField() {
		name := strings.ToLower(strings.Join(word.FindAllString(of.Type().Field(i).Name, -1), "_"))
		if name == "most_tasks" {
			continue
		}
		of.Field(i).SetFloat(take(name))
	}
	for name := range values {
		t.Errorf("%s has an input %s, which nothing takes", document, name)
	}
	constant := func(file, name string) float64 { return constantOf(t, "../../identity/agent/"+file, name) }
	in.MostTasks = constant("tasks.go", "maxTasks")
	in.refreshMargin = constant("tokens.go", "refreshMargin")
	in.tasks = Tasks{
		Between: 60, Horizon: 30 * 3600, PerSecond: in.registrations, Latency: in.latency, MaxTasks: int(in.MostTasks),
		AtOnce: int(constant("agent.go", "maxRegistrations")),
		MaxAge: constant("tasks.go", "renewTaskAge"), AgeSpread: constant("tasks.go", "taskAgeSpread"), BackoffFirst: constant("retry/backoff.go", "backoffFirst"),
		BackoffMost: constant("retry/backoff.go", "backoffMost"), RetryAfter: 5,
	}
	return in
}

// constantOf returns a constant of the program's source: a number, or a duration
// in seconds.
func constantOf(t *testing.T, path, name string) float64 {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]time.Duration{"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}
	var value func(e ast.Expr) float64
	value = func(e ast.Expr) float64 {
		switch e := e.(type) {
		case *ast.BasicLit:
			n, err := strconv.ParseFloat(e.Value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		case *ast.SelectorExpr:
			return units[e.Sel.Name].Seconds()
		case *ast.BinaryExpr:
			if e.Op == token.MUL {
				return value(e.X) * value(e.Y)
			}
		}
		t.Fatalf("%s: %s is not a number or a duration", path, name)
		return 0
	}
	var found float64
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok && spec.Names[0].Name == name && len(spec.Values) == 1 {
			found = value(spec.Values[0])
		}
		return true
	})
	if found == 0 {
		t.Fatalf("%s has no constant %s", path, name)
	}
	return found
}

// number writes a figure with thousands set apart.
func number(f float64) string {
	if f < 10 {
		return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
	}
	s := strconv.FormatFloat(math.Round(f), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func rows(head string, lines ...string) string {
	rule := regexp.MustCompile(`[^|]+`).ReplaceAllString(strings.Trim(head, "|"), " ---: ")
	return head + "\n|" + strings.Replace(rule, " ---: ", " --- ", 1) + "|\n" + strings.Join(lines, "\n") + "\n"
}

func capacityTable(_ *testing.T, in inputs) string {
	var lines []string
	for _, n := range fleets {
		need := in.Plan(n)
		binding := need.Binding
		if binding == "" {
			binding = "one does"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %d | %s |", number(float64(n)), number(need.Streams), number(need.Events),
			number(need.Requests), number(need.Cores), number(need.Megabytes), number(need.Connections), need.Replicas, binding))
	}
	return rows("| agents | streams | events/s | requests/s | cores | MB | connections | replicas | because of |", lines...)
}

func streamsTable(t *testing.T, in inputs) string {
	var lines []string
	for _, n := range fleets {
		const seconds = 240
		need := in.Plan(n)
		mean, most := in.Streams(n, seconds, 1)
		if expected := float64(n) * in.Busy; math.Abs(mean-expected) > 0.02*expected+2 {
			t.Errorf("%d agents: %.1f streams on average, the model says %.1f", n, mean, expected)
		}
		if math.Abs(most-need.Streams) > 0.03*need.Streams+3 {
			t.Errorf("%d agents: %.0f streams at most, the model says %.0f", n, most, need.Streams)
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s |", number(float64(n)), number(need.Streams), number(mean), number(most)))
	}
	return rows("| agents | streams by the model | simulated, on average | simulated, at most |", lines...)
}

func tasksTable(t *testing.T, in inputs) string {
	var lines []string
	for _, c := range []struct {
		agents, replicas int
		ramp             float64
		start            string
	}{
		{10, 1, 0, "at once"},
		{1000, 1, 0, "at once"},
		{1000, 1, 60, "within a minute"},
		{10_000, 10, 0, "at once"},
		{10_000, 10, 600, "within ten minutes"},
		{100_000, 100, 3600, "within an hour"},
	} {
		s := in.tasks
		s.Agents, s.Replicas, s.Ramp = c.agents, c.replicas, c.ramp
		out := s.Run(1)
		if out.Registrations-out.Renewals != c.agents {
			t.Errorf("%d of %d agents got a task", out.Registrations-out.Renewals, c.agents)
		}
		if out.Renewals != c.agents {
			t.Errorf("%d agents had %d renewals in 30 hours", c.agents, out.Renewals)
		}
		lines = append(lines, fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s | %s |", number(float64(c.agents)), c.replicas, c.start,
			number(float64(out.Most)), number(float64(out.Refused)), number(float64(out.Held)), number(out.Ready), number(float64(out.MostRenewing))))
	}
	return rows("| agents | replicas | begin | most tries in a second | refused by the backend | told to wait by a replica | seconds until all have a task | most renewals in a second |", lines...)
}

func forgottenTable(t *testing.T, in inputs) string {
	var lines []string
	for _, labels := range []int{1000, 1100, 1500} {
		s := in.tasks
		s.Agents, s.Replicas, s.Ramp, s.Between, s.Horizon, s.PerSecond = labels, 1, 600, 600, 2*3600, 1000
		out := s.Run(1)
		if within := labels <= s.MaxTasks; within != (out.Renewals == 0) {
			t.Errorf("%d labels: %d tasks were registered again", labels, out.Renewals)
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s |", number(float64(labels)), number(float64(out.Registrations)), number(float64(out.Renewals))))
	}
	return rows("| labels on one replica, each used every 10 minutes for 2 hours | registrations | of these again |", lines...)
}

func loginsTable(t *testing.T, in inputs) string {
	const replicas, days = 4, 30
	var lines []string
	for _, how := range []Sharing{OneEach, OneVolume, Copies, GivenToAll} {
		refreshes, lost := Logins(how, replicas, in.tokenDays*24*3600, in.refreshMargin, days*24*3600, 1)
		if (how == Copies) != (lost > 0) {
			t.Errorf("%s: %d replicas lost their log-in", how, lost)
		}
		lines = append(lines, fmt.Sprintf("| %s | %d | %d |", how, refreshes, lost))
	}
	return rows("| how | refreshes | replicas without a log-in at the end |", lines...)
}

// teamLimits are those that the document gives as an example.
var teamLimits = &ratelimit.Rules{PerLabel: ratelimit.Limits{RequestsPerMinute: 60, Streams: 4}}

func limitsTable(t *testing.T, in inputs) string {
	var lines []string
	for _, n := range fleets {
		team := Team{Inputs: in.Inputs, Agents: n, Replicas: in.Plan(n).Replicas, Runaways: max(1, n/1000)}
		free := team.Run(130, 1)
		team.Rules = teamLimits
		bound := team.Run(130, 1)
		// What runs away gets its limit, and no more.
		others := n - team.Runaways
		turns := float64(others) * in.Busy / in.StreamSeconds
		want := turns*(1+in.RequestsPerTurn) + float64(team.Runaways*teamLimits.PerLabel.RequestsPerMinute)/60
		if math.Abs(bound.Passed-want) > 0.05*want+1 {
			t.Errorf("%d agents: %.2f requests/s passed, the model says %.2f", n, bound.Passed, want)
		}
		if bound.Others != 0 {
			t.Errorf("%d agents: %d requests of others were refused", n, bound.Others)
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %d |", number(float64(n)), number(float64(team.Runaways)),
			number(free.Passed), number(bound.Passed), number(free.Streams), number(bound.Streams), bound.Others))
	}
	return rows("| agents | of them run away | requests/s without limits | with | streams without limits | with | refused of the others |", lines...)
}

func exchangesTable(t *testing.T, in inputs) string {
	var lines []string
	for _, n := range fleets {
		for _, ttl := range []float64{15, 60, 240} {
			mean, most, cut := in.Exchanges(n, ttl, 4, 1)
			if want := math.Exp(-ttl / in.JobMinutes); n > 10 && math.Abs(cut-want) > 0.1*want+0.01 {
				t.Errorf("%d agents, %.0f minutes: %.3f of the jobs were cut, the model says %.3f", n, ttl, cut, want)
			}
			lines = append(lines, fmt.Sprintf("| %s | %.0f min | %s | %s | %.1f %% |", number(float64(n)), ttl, number(mean), number(most), 100*cut))
		}
	}
	return rows("| agents | ttl | exchanges/s | at most in a second | jobs that outlive their token |", lines...)
}

func allowanceTable(t *testing.T, in inputs) string {
	paced := int(in.TurnsPerWindow * in.StreamSeconds / (in.WindowHours * 3600))
	var lines []string
	for _, n := range []int{10, 100, 1000} {
		for _, streams := range []int{0, paced} {
			out := Allowance{in.Inputs, n, streams}.Run(1)
			if streams != 0 && out.Refused != 0 {
				t.Errorf("%d agents, %d streams: the backend refused %d", n, streams, out.Refused)
			}
			limit := "none"
			if streams != 0 {
				limit = strconv.Itoa(streams)
			}
			lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", number(float64(n)), limit, number(float64(out.Turns)),
				number(out.UsedUp), number(float64(out.Refused)), number(float64(out.Waits))))
		}
	}
	return rows("| agents of one account | `total_streams` | turns | minutes until used up | agents that the backend refused | told to wait by the proxy |", lines...)
}

// TestDefaultsBind holds what the document says of the default limits.
func TestDefaultsBind(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	in := readInputs(t, string(raw))
	defaults := access.DefaultLimits()
	for _, said := range []string{
		fmt.Sprintf("`limits.connections`, %s by default", number(float64(defaults.Connections))),
		fmt.Sprintf("the default is %d", defaults.Connections),
		fmt.Sprintf("remembers %s tasks", number(in.MostTasks)),
		fmt.Sprintf("after %.0f to %.0f hours", (in.tasks.MaxAge-in.tasks.AgeSpread)/3600, in.tasks.MaxAge/3600),
	} {
		if !strings.Contains(string(raw), said) {
			t.Errorf("%s does not say that %s", document, said)
		}
	}
	in.MostConnections = float64(defaults.Connections)
	if need := in.Plan(int(in.MostConnections/in.Connections) + 1); need.Binding != "connections" {
		t.Errorf("with the default limits %q binds first", need.Binding)
	}
}
