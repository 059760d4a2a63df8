//go:build linux

package integration

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestServersDisagree has some of the backend's servers be nine minutes ahead of the
// others, so that an answer of the one kind spoils what was learnt from the
// other. No client sees a refusal for that, and no task is replaced.
func TestServersDisagree(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{yaml: "signer: {use: agent-assertion}"})
	f.edit(t, "level: debug", "level: error")
	f.backend.Inject(chatgpttest.Fault{
		Match:       func(r *http.Request) bool { return r.URL.Query().Has("ahead") },
		ClockOffset: 9 * time.Minute,
	})
	p := f.serve(t)
	mustAsk(t, p.client(t, ""), http.StatusOK)
	before := f.backend.Stats()
	var group sync.WaitGroup
	for _, query := range []string{"", "?ahead"} {
		for range 8 {
			client := p.client(t, "")
			group.Go(func() {
				for range 40 {
					response, err := client.Get(backendAPI + "/test/echo" + query)
					if err != nil {
						t.Error(err)
						return
					}
					body, _ := io.ReadAll(response.Body)
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						t.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
					}
				}
			})
		}
	}
	group.Wait()
	after := f.backend.Stats()
	if n := after.TaskRegistrations - before.TaskRegistrations; n != 0 {
		t.Errorf("%d tasks were registered", n)
	}
	if after.Unauthorized == before.Unauthorized {
		t.Error("nothing was refused at first")
	}
}
