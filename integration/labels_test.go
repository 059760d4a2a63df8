//go:build linux

package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/integration/scale"
)

// TestManyLabels has more sessions than tasks are remembered, and compares the
// registrations with those that the simulation of docs/scale.md counts.
func TestManyLabels(t *testing.T) {
	t.Parallel()
	const labels, remembered = 1100, 1024
	f := newLoginFixture(t, fixtureConfig{yaml: "signer: {use: agent-assertion}\nlimits: {labels_per_client: 2000}"})
	f.edit(t, "level: debug", "level: error")
	p := f.serve(t)
	mustAsk(t, p.client(t, "label-0"), http.StatusOK)
	eventually(t, "the proxy's own task, beside the label's", func() bool { return f.backend.Stats().TaskRegistrations == 2 })
	const before = 1
	askAll := func(from, to int) {
		t.Helper()
		next := make(chan int)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				for i := range next {
					client := p.client(t, fmt.Sprintf("label-%d", i))
					if status, err := ask(client, nil); err != nil || status != http.StatusOK {
						t.Errorf("label %d: status %d, %v", i, status, err)
					}
					client.CloseIdleConnections()
				}
			})
		}
		for i := from; i < to; i++ {
			next <- i
		}
		close(next)
		group.Wait()
	}
	registered := func() int { return f.backend.Stats().TaskRegistrations - before }

	askAll(0, labels)
	simulated := scale.Tasks{
		Agents: labels, Replicas: 1, Between: 3600, Horizon: 1, PerSecond: labels, MaxAge: 3600, MaxTasks: remembered, AtOnce: 10,
		BackoffFirst: 1, BackoffMost: 30, RetryAfter: 5,
	}.Run(1)
	if n := registered(); n != simulated.Registrations || n != labels {
		t.Errorf("%d tasks were registered; simulated %d, want %d", n, simulated.Registrations, labels)
	}
	askAll(labels-200, labels)
	if n := registered(); n != labels {
		t.Errorf("%d tasks were registered again that were used last", n-labels)
	}
	const oldest = 50
	askAll(0, oldest)
	if n := registered(); n != labels+oldest {
		t.Errorf("%d of the %d tasks that were used first were registered again", n-labels, oldest)
	}
}
