package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// TestStrangersAreSummedUp counts refusals with two codes: a line a second, until none
// comes any more.
func TestStrangersAreSummedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := new(proxytest.Log)
		decisions := new(auditLog)
		pol := &policy{Config: Config{Log: zerolog.New(log), Audit: decisions}}
		s := newStrangers(func() *policy { return pol }, strangerInterval)
		wrong, foreign := &refuse.Refusal{Code: "wrong"}, &refuse.Refusal{Code: "foreign"}
		for i := range 1000 {
			if s.first(wrong) != (i == 0) {
				t.Fatalf("refusal %d", i)
			}
		}
		if !s.first(foreign) || s.first(&refuse.Refusal{Code: "wrong", Challenge: true}) != true {
			t.Fatal("kinds are counted together")
		}
		taken := 0
		take := func(want string) {
			t.Helper()
			synctest.Wait()
			all := log.String()
			if got := all[taken:]; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			taken = len(all)
		}
		take("")
		time.Sleep(strangerInterval)
		const more = `,"message":"more clients that were not let in"}` + "\n"
		take(`{"level":"warn","refused":"wrong","times":999` + more)
		if !s.first(foreign) || s.first(wrong) {
			t.Error("what is over is remembered, or what goes on is not")
		}
		time.Sleep(strangerInterval)
		take(`{"level":"warn","refused":"wrong","times":1` + more)
		time.Sleep(strangerInterval)
		synctest.Wait()
		if !s.first(wrong) || s.first(wrong) {
			t.Error("what is over is remembered")
		}
		s.Stop()
		take(`{"level":"warn","refused":"wrong","times":1` + more)
		var times []int
		for _, d := range decisions.take() {
			if d.Verdict != audit.VerdictRefuse || d.Refused != "wrong" {
				t.Errorf("%+v", d)
			}
			times = append(times, d.Times)
		}
		if len(times) != 3 || times[0] != 999 || times[1] != 1 || times[2] != 1 {
			t.Errorf("the audit log has %d", times)
		}
	})
}

// TestStrangersFillNoLog has a client guess the token: every guess is counted, few are
// written down, and a client that is let in is logged as ever.
func TestStrangersFillNoLog(t *testing.T) {
	t.Parallel()
	const guesses = 300
	decisions := new(auditLog)
	p := newProxy(t, "", func(c *Config) {
		c.Clients.Token = "right"
		c.Audit = decisions
	})
	p.strangers.Stop()
	p.strangers = newStrangers(p.current, time.Hour)
	p.serve(t)
	for range guesses {
		c, res := p.connectAs(t, "x", "refused.example:443") // with an empty token
		if res.StatusCode != http.StatusProxyAuthRequired {
			t.Fatal(res.Status)
		}
		c.Close()
	}
	for range 3 {
		c := p.dial(t)
		c.Send(t, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("x", "right"))
		if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusForbidden {
			t.Fatal(res.Status)
		}
		c.Close()
	}
	p.cutNow()
	var lines, counted, admitted int
	for line := range strings.Lines(p.log.String()) {
		var entry struct {
			Refused string
			Times   int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		switch {
		case entry.Refused == "proxy_auth_required":
			lines++
			counted += max(entry.Times, 1)
		case entry.Refused != "":
			admitted++
		}
	}
	if counted != guesses || lines != 2 || admitted != 3 {
		t.Errorf("%d lines count %d guesses, and %d are of the client that was let in", lines, counted, admitted)
	}
	counted, lines = 0, 0
	for _, d := range decisions.take() {
		if d.Refused == "proxy_auth_required" {
			lines++
			counted += max(d.Times, 1)
		}
	}
	if counted != guesses || lines != 2 {
		t.Errorf("%d decisions count %d guesses", lines, counted)
	}
}
