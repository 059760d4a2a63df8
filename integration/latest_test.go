//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestLatestRequests has the admin port show what the log has of requests, and nothing
// besides, whoever asks for more than they may.
func TestLatestRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{scope: defaultScope, yaml: "clients: {token: x}"})
	admin := f.adminOn(t)
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	ask := func(client *http.Client, url string) {
		t.Helper()
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
		}
	}
	for _, path := range []string{"/wham/tasks/list?limit=" + clientsMark, "/conversations?mark=" + clientsMark, "/codex/" + strings.Repeat("x", 3000) + "?" + clientsMark, "/%E2%80%AE"} {
		ask(labelled(t, p, "build-42", "x"), backendAPI+path)
	}
	ask(labelled(t, p, "build-42", "x"), "https://other.example/")
	for range 20 { // whose refusals are summed up
		ask(labelled(t, p, "stranger", "wrong"), backendAPI+"/wham/tasks/list")
	}
	type shown struct {
		Kind, Method, Host, Path, Client, Refused string
		Status                                    int
		Signed                                    string
	}
	logged := func() (all []string) {
		for line := range strings.Lines(p.log.String()) {
			var entry struct {
				shown
				Level, Message string
			}
			if json.Unmarshal([]byte(line), &entry) != nil || entry.Message != "exchange" || entry.Level == "debug" {
				continue
			}
			if len(entry.Path) > 256 {
				entry.Path = entry.Path[:256] + "…"
			}
			all = append(all, fmt.Sprintf("%+v", entry.shown))
		}
		slices.Sort(all)
		return all
	}
	eventually(t, "the requests to be logged", func() bool {
		return strings.Contains(p.log.String(), "more clients that were not let in") && len(logged()) >= 6
	})
	type status struct {
		Requests []struct {
			shown
			Credential string
		}
		Rates struct{ Requests, Failed []int }
	}
	var r curlResult
	var now status
	eventually(t, "what is logged to be shown", func() bool { // which comes after
		r, now = curl(t, baseEnv(t), "http://"+admin+"/status.json"), status{}
		if err := json.Unmarshal([]byte(r.body), &now); err != nil {
			t.Fatal(err)
		}
		return len(now.Requests) >= len(logged())
	})
	var got []string
	for _, request := range now.Requests {
		request.Signed = request.Credential
		got = append(got, fmt.Sprintf("%+v", request.shown))
	}
	slices.Sort(got)
	if want := logged(); !slices.Equal(got, want) {
		t.Errorf("shown:\n%s\nlogged:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	sum := 0
	for _, n := range now.Rates.Requests {
		sum += n
	}
	if sum != len(got) || strings.Contains(r.body, clientsMark) {
		t.Errorf("%d requests counted, %d shown: %s", sum, len(got), r.body)
	}
}
