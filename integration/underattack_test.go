//go:build linux

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestUnderAttack is under each attack, and under all at once, with 50 well-behaved clients
// and the memory of the manifests.
func TestUnderAttack(t *testing.T) { underAttack(t, siege{each: time.Second}) }

// siege says how a proxy is attacked.
type siege struct {
	each  time.Duration // of the attacks
	quiet time.Duration // before each of them, to compare with
	idle  bool          // see attack
	only  string        // what the names of the attacks have in them
}

// phase is a time with one attack, several or none.
type phase struct {
	name, unit string
	took       time.Duration
	seen       *firstBytes
	strength                 // of the attackers
	proxy      time.Duration // of the processors that the proxy has used
	peak       int64         // memory, in bytes
}

// fields returns what a phase was like, as the columns of a table.
func (p *phase) fields(quiet time.Duration) []string {
	perSecond := func(n int64) float64 { return float64(n) / p.took.Seconds() }
	cores := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()/p.took.Seconds()) }
	fields := []string{p.name, "", "", "", "", cores(p.proxy), fmt.Sprint(len(p.seen.After)), fmt.Sprint(p.seen.Busy), fmt.Sprint(len(p.seen.Failed)),
		p.seen.quantile(.5).String(), p.seen.quantile(.99).String(), "", fmt.Sprint(p.peak >> 20)}
	if p.Connections > 0 {
		fields[1], fields[2] = fmt.Sprintf("%.0f", perSecond(p.Connections)), fmt.Sprintf("%.0f %s", perSecond(p.Units), p.unit)
		fields[3], fields[4] = fmt.Sprintf("%.2f", perSecond(p.Bytes)/1e6), cores(p.CPU)
	}
	if quiet > 0 {
		fields[11] = fmt.Sprintf("%.1f", p.seen.quantile(.99).Seconds()/quiet.Seconds())
	}
	return fields
}

// columns are the names of the fields of a phase.
var columns = []string{"attack", "connections/s", "units/s", "MB/s", "attackers' cores", "proxy's cores", "answers", "busy", "failed", "p50", "p99", "of the quiet p99", "MiB at most"}

// underAttack is under each attack for a time. None of the well-behaved clients' requests
// fails, but for a 503 that says when to come back; the proxy lives, and afterwards its
// memory comes back within a minute.
//
// An attack under which p99 is more than double is repeated against another proxy, which none
// of the clients use: what it is then is the machine's part of it.
func underAttack(t *testing.T, s siege) {
	const most = 256 << 20
	besieged := func() (*proxy, memoryBound) {
		t.Helper()
		bound := boundMemory(t, most)
		// The server has a part of the processors, too.
		f := newFixture(t, fixtureConfig{backend: chatgpttest.Config{DropBodies: true}})
		f.starter = bound.starter
		f.adminOn(t)
		return f.edit(t, "level: debug", "level: error").serve(t), bound
	}
	p, bound := besieged()
	target := p
	all := slices.Clone(assaults)
	if !needRoot(t) {
		all = slices.DeleteFunc(all, func(a assault) bool { return strings.HasSuffix(a.name, "of another user") })
	}
	clients := startClients(t, behaved{p.url(t).Host, p.ca, 50})
	run := func(name string, d time.Duration, assaults ...assault) *phase {
		t.Helper()
		var ends []func() strength
		attacks := make(chan struct{}, len(assaults))
		for _, assault := range assaults {
			ends = append(ends, startAttack(t, attack{assault.name, target.addr, target.fixture.admin, target.ca, s.idle}, attacks))
		}
		if len(assaults) > 0 {
			select {
			case <-attacks: // of all at once, one is enough: it may take the places of others
			case <-time.After(clientTimeout):
			}
		}
		ph := &phase{name: name, unit: "units", proxy: -p.cpu(t)}
		begun := time.Now()
		clients.start(t, d)
		for time.Since(begun) < d {
			ph.peak = max(ph.peak, bound.used(t, p))
			time.Sleep(20 * time.Millisecond)
		}
		for _, end := range ends {
			done := end()
			ph.Connections += done.Connections
			ph.Units += done.Units
			ph.Bytes += done.Bytes
			ph.CPU += done.CPU
		}
		if len(assaults) == 1 {
			ph.unit = assaults[0].unit
		}
		ph.took, ph.proxy = time.Since(begun), ph.proxy+p.cpu(t)
		ph.seen = clients.wait(t)
		t.Log(strings.Join(ph.fields(0), " | "))
		if len(ph.seen.Failed) > 0 {
			t.Errorf("%s: %d requests failed, the first: %s", name, len(ph.seen.Failed), ph.seen.Failed[0])
		}
		if len(ph.seen.After) == 0 {
			t.Errorf("%s: nobody was served", name)
		}
		if len(assaults) > 0 && ph.Units == 0 {
			t.Errorf("%s: nobody attacked", name)
		}
		return ph
	}
	t.Logf("%s of %d MiB, each for %s", bound.how, most>>20, s.each)
	run("nothing", max(s.each/4, time.Second)) // and every client has its task
	before := p.kilobytes(t)
	quiet, phases := &phase{name: "nothing", seen: new(firstBytes)}, []*phase{}
	endure := func(name string, assaults ...assault) {
		t.Helper()
		if !strings.Contains(name, s.only) {
			return
		}
		if s.quiet > 0 {
			quiet.add(run("nothing", s.quiet))
		}
		phases = append(phases, run(name, s.each, assaults...))
	}
	for _, assault := range all {
		endure(assault.name, assault)
	}
	endure("all at once", all...)
	end := time.Now()
	for {
		now := p.kilobytes(t)
		if now <= before+32<<10 {
			t.Logf("%d kB before, %d kB %s after the last", before, now, time.Since(end).Round(100*time.Millisecond))
			break
		}
		if time.Since(end) > time.Minute {
			t.Errorf("%d kB before, and %d kB a minute after the last", before, now)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	run("nothing any more", max(s.quiet, time.Second))
	if s.quiet > 0 {
		p99 := quiet.seen.quantile(.99)
		for i := 0; i < len(phases); i++ {
			if phases[i].seen.quantile(.99) <= 2*p99 {
				continue
			}
			if target == p {
				target, _ = besieged()
			}
			assaults := all
			if j := slices.IndexFunc(all, func(a assault) bool { return a.name == phases[i].name }); j >= 0 {
				assaults = all[j : j+1]
			}
			i++
			phases = slices.Insert(phases, i, run(phases[i-1].name+", of another proxy", s.each, assaults...))
		}
		table := []string{"| " + strings.Join(columns, " | ") + " |", strings.Repeat("| --- ", len(columns)) + "|"}
		for _, ph := range append([]*phase{quiet}, phases...) {
			table = append(table, "| "+strings.Join(ph.fields(p99), " | ")+" |")
		}
		t.Logf("50 well-behaved clients\n%s", strings.Join(table, "\n"))
	}
}

// add adds another phase of the same kind.
func (p *phase) add(other *phase) {
	p.took += other.took
	p.proxy += other.proxy
	p.peak = max(p.peak, other.peak)
	p.seen.After = append(p.seen.After, other.seen.After...)
	p.seen.Busy += other.seen.Busy
	p.seen.Failed = append(p.seen.Failed, other.seen.Failed...)
}

// cpu returns the time of the processors that the proxy has used.
func (p *proxy) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat := readFile(t, fmt.Sprintf("/proc/%d/stat", p.process.Pid))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		t.Fatalf("stat: %q", stat)
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, see proc_pid_stat(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}
