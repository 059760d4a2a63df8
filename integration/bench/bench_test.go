//go:build linux

package main

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"
)

// TestDirect runs the scenarios against the server itself, in miniature.
func TestDirect(t *testing.T) {
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	u, err := startUpstream(ca)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	moment := 20 * time.Millisecond
	b := &bench{log: io.Discard, dir: t.TempDir(), ca: ca, upstream: u, plan: plan{
		rounds: 1, request: moment, connect: moment, move: moment, echo: moment, sign: time.Millisecond,
		streams: 3, events: 3, sockets: 3, startUps: 1, transfer: 100_000, eventGap: 2 * time.Millisecond, openRound: moment,
	}}
	p := &program{name: direct, start: startDirect}
	b.programs = []*program{p}
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
	if got := b.measureScenario(t.Context(), scenarios[5]).rows[0].rounds[keyResumed]; len(got) != 1 || got[0] != 100 {
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
