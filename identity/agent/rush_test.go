package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	"github.com/agentproxy/agentproxy/internal/contain"
)

// slowBackend registers tasks, each in half a second of a bubble's time, unless
// refuse has something else to answer. It is the transport to itself.
type slowBackend struct {
	refuse func(tries int) (status int, header http.Header)

	mu          sync.Mutex
	tries       []time.Time
	under, most int
}

// RoundTrip implements [http.RoundTripper].
func (b *slowBackend) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}
	if !strings.HasSuffix(r.URL.Path, "/task/register") {
		answer.Header.Set("X-Openai-Authorization", "biscuit")
		return answer, nil
	}
	b.mu.Lock()
	b.tries = append(b.tries, time.Now())
	n := len(b.tries)
	b.under++
	b.most = max(b.most, b.under)
	b.mu.Unlock()
	time.Sleep(500 * time.Millisecond) // of the bubble
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under--
	if b.refuse != nil {
		if status, header := b.refuse(n); status != 0 {
			answer.StatusCode, answer.Header = status, header
			return answer, nil
		}
	}
	answer.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"task_id":"task-%d"}`, n)))
	return answer, nil
}

// TestManyNewLabels has a hundred labels come at once: few are registered at a
// time, and a backend that asks for time gets it. Nobody fails for that.
func TestManyNewLabels(t *testing.T) {
	const labels = 100
	r := newRig(t)
	r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("C"))
	in := func(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }
	for name, test := range map[string]struct {
		refuse func(tries int) (int, http.Header)
		fail   int           // how many
		pause  time.Duration // before the last try
	}{
		"takes all":     {refuse: nil},
		"takes a break": {refuse: func(n int) (int, http.Header) { return map[bool]int{n > 40 && n <= 50: 429}[true], in("20") }, pause: 20 * time.Second},
		"has too much":  {refuse: func(n int) (int, http.Header) { return map[bool]int{n%3 == 0: 503}[true], in("2") }},
		"takes a rest":  {refuse: func(n int) (int, http.Header) { return 503, in("120") }, fail: labels},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &slowBackend{refuse: test.refuse}
				clock := backend.NewClock(time.Now, nil)
				a := agent.New(agent.Config{
					Home: codex.OpenHome(r.home), Register: true, Clock: clock, Notify: r.notify,
					Panicked: func(p *contain.PanicError) { t.Errorf("%v\n%s", p, p.Stack()) },
					Backend:  backend.New(backend.Config{BaseURL: baseURL, Transport: service, Clock: clock}),
				})
				defer a.Close()
				var mu sync.Mutex
				tasks, failed := make(map[string]bool), 0
				var last error
				var group sync.WaitGroup
				for i := range labels {
					group.Go(func() {
						s, err := a.Session(t.Context(), fmt.Sprint("label-", i))
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							failed++
							last = err
						} else {
							tasks[s.Task.ID] = true
						}
					})
				}
				group.Wait()
				if failed != test.fail || len(tasks) != labels-test.fail {
					t.Errorf("%d labels have a task, %d failed (%v); want %d to fail", len(tasks), failed, last, test.fail)
				}
				if service.most > 10 {
					t.Errorf("%d registrations at a time", service.most)
				}
				if test.fail > 0 {
					if len(service.tries) > 10 {
						t.Errorf("%d tries although the backend was to be left alone", len(service.tries))
					}
					time.Sleep(119 * time.Second) // of the bubble
					if _, err := a.Session(t.Context(), "another"); err == nil || !strings.Contains(err.Error(), "next try in ") {
						t.Errorf("meanwhile: %v", err)
					}
				}
				longest := time.Duration(0)
				for i, at := range service.tries[1:] {
					longest = max(longest, at.Sub(service.tries[i]))
				}
				if longest < test.pause {
					t.Errorf("the longest pause was %s, want %s", longest, test.pause)
				}
			})
		})
	}
}
