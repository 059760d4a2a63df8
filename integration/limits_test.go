//go:build linux

package integration

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLimitsRun has 50 labels ask for twice what their limit allows, all at once, and one
// that has no limit. Each gets its limit to the request, as long as the minute has not ended.
func TestLimitsRun(t *testing.T) {
	t.Parallel()
	const labels, limit, each = 50, 20, 40
	p := newFixture(t, fixtureConfig{yaml: `clients: {token: x}
limits:
  requests_per_minute: 20
  for_labels: [{labels: ["free-*"], requests_per_minute: 0}]`}).edit(t, `admin: ""`, "admin: unix:"+t.TempDir()+"/admin").serve(t)
	type count struct{ served, refused int }
	counts := make([]count, labels+1)
	var running sync.WaitGroup
	begun := time.Now()
	for i := range counts {
		label := fmt.Sprint("label-", i)
		if i == labels {
			label = "free-1"
		}
		client := p.labelled(t, label, "x", i%2 == 0)
		running.Go(func() {
			for range each {
				response, err := client.Get(backendAPI + "/test/echo")
				if err != nil {
					t.Errorf("%s: %v", label, err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				switch response.StatusCode {
				case http.StatusOK:
					counts[i].served++
				case http.StatusTooManyRequests:
					counts[i].refused++
					if after, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || after < 1 || after > 61 || !strings.Contains(response.Header.Get("Proxy-Status"), `details="too_many_requests"`) {
						t.Errorf("%s: %v", label, response.Header)
					}
				default:
					t.Errorf("%s: %s", label, response.Status)
				}
			}
		})
	}
	running.Wait()
	took := time.Since(begun)
	t.Logf("%d requests of %d labels in %s, %.0f a second", (labels+1)*each, labels+1, took.Round(time.Millisecond), (labels+1)*each/took.Seconds())
	minutes := 1 + int(took/time.Minute) // on a machine that is as slow as that
	for i, c := range counts {
		switch {
		case c.served+c.refused != each:
			t.Errorf("label %d: %+v", i, c)
		case i == labels && c.refused != 0:
			t.Errorf("the label without a limit: %+v", c)
		case i < labels && minutes == 1 && c.served != limit, i < labels && (c.served < limit || c.served > limit*minutes):
			t.Errorf("label %d: %d requests were served in %s, want %d", i, c.served, took, limit)
		}
	}
}
