package proxy

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// dating is a signer that is told when its credential was refused.
type dating struct{ refusedAt chan time.Time }

func (dating) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	return proxytest.Bearer(), nil
}

func (d dating) Renew(_ context.Context, r signer.Request, _ *signer.Authorization) (*signer.Authorization, error) {
	d.refusedAt <- r.RefusedAt
	return nil, signer.Errorf(signer.NoTask, "there is no other")
}

// TestTimeOfOthers: only the backend says what the time is. Another server could have
// assertions made that are good tomorrow.
func TestTimeOfOthers(t *testing.T) {
	t.Parallel()
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", tomorrow.Format(http.TimeFormat))
		w.WriteHeader(http.StatusUnauthorized)
	})
	observed := make(chan string, 4)
	d := dating{make(chan time.Time, 4)}
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Signer = d
		c.ObserveDate = func(date string) { observed <- date }
	})
	c := p.client(t, proxytest.H1)
	for _, test := range []struct {
		origin  string
		backend bool
	}{{"https://chatgpt-staging.com", false}, {proxytest.Origin, true}} {
		proxytest.Get(t, c, test.origin+"/")
		if at := <-d.refusedAt; at.Equal(tomorrow) != test.backend {
			t.Errorf("%s: the refusal is of %v", test.origin, at)
		}
		if got := len(observed) > 0; got != test.backend {
			t.Errorf("%s: its time is observed: %v", test.origin, got)
		}
	}
}
