//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain has this program be the proxy that TestProfiled starts.
func TestMain(m *testing.M) {
	if config := os.Getenv(profiledVariable); config != "" {
		fmt.Fprintln(os.Stderr, serveProfiled(config))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestProfiled sends a request through the proxy that has a profiler.
func TestProfiled(t *testing.T) {
	b := newTestBench(t)
	i, _, err := b.startProfiled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer i.stop()
	if got, err := i.get(t.Context(), pathAuthorization); err != nil || !strings.HasPrefix(got, "AgentAssertion ") {
		t.Errorf("the server was sent Authorization: %.40q, %v", got, err)
	}
}

// newTestBench returns a bench that measures next to nothing.
func newTestBench(t *testing.T) *bench {
	t.Helper()
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{log: io.Discard, dir: t.TempDir(), ca: ca}
	if err := ca.writeFiles(b.dir); err != nil {
		t.Fatal(err)
	}
	if b.upstream, err = startUpstream(ca); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.upstream.close)
	moment := 20 * time.Millisecond
	b.plan = plan{
		rounds: 1, request: moment, connect: moment, move: moment, echo: moment, sign: time.Millisecond,
		streams: 3, events: 3, sockets: 3, startUps: 1, transfer: 100_000, eventGap: 2 * time.Millisecond, openRound: moment,
		rate: moment, turnEvents: 3, turnGap: 2 * time.Millisecond, turnOpen: moment, firstTurns: 1,
	}
	return b
}

// TestDirect runs the scenarios against the server itself, in miniature.
func TestDirect(t *testing.T) {
	b := newTestBench(t)
	p := &program{name: direct, start: startDirect}
	b.programs = []*program{p}
	var err error
	if p.instance, err = b.startInstance(t.Context(), p, p.name); err != nil {
		t.Fatal(err)
	}
	if err := p.check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, s := range scenarios {
		if !slices.Contains(s.programs, direct) {
			continue
		}
		table := b.measureScenario(t.Context(), s)
		if len(table.rows) != 1 || table.rows[0].failure != "" {
			t.Errorf("%s: %+v", s.id, table.rows[0])
			continue
		}
		for key, rounds := range table.rows[0].rounds {
			if len(rounds) == 0 || rounds[0] <= 0 && key != keyResumed {
				t.Errorf("%s: %s is %v", s.id, key, rounds)
			}
		}
	}
	resumed, err := selectScenarios(idResumed)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.measureScenario(t.Context(), resumed[0]).rows[0].rounds[keyResumed]; len(got) != 1 || got[0] != 100 {
		t.Errorf("%v %% of the connections were resumed, want 100", got)
	}
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	p, err := startProcess(dir, "sleeper", []string{"sh", "-c", "echo asleep; sleep 60 & sleep 60"}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); p.lastWords() != "asleep" && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if u, err := p.usage(); err != nil || u.rss == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	p.stop()
	if got := p.lastWords(); got != "asleep" {
		t.Errorf("it said %q", got)
	}
	if _, err := p.usage(); err == nil {
		t.Error("it is still running")
	}
}
