package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func labels(t testing.TB, list ...string) (ps access.LabelPatterns) {
	t.Helper()
	for _, s := range list {
		p, err := access.ParseLabelPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// TestProfiles gives each label what the first profile for it says, and all
// others what is configured for all.
func TestProfiles(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		backend := proxytest.NewBackend(t, proto, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
			c.Signer = bearerOf("common")
			c.OtherHosts.Refuse = true
			c.Upstream.ConnectTo["tunnel.example:7"] = backend.Listener.Addr().String()
			c.Profiles = []Profile{
				{Name: "builds", Labels: labels(t, "build-*"), Signer: bearerOf("builds"), Hosts: patterns(t, proxytest.Host), ConnectionsPerLabel: 3,
					OtherHosts: OtherHosts{Refuse: true, Only: patterns(t, "tunnel.example:7")}},
				{Name: "never", Labels: labels(t, "build-1"), Signer: bearerOf("never"), ConnectionsPerLabel: 9},
				{Name: "strangers", Labels: labels(t, "stranger", "foreign-*"), Refuse: true},
			}
		})
		for label, want := range map[string]string{"build-1": "builds", "build-": "builds", "other": "common"} {
			c := p.clientAs(t, proto, url.UserPassword(label, ""))
			if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "Bearer "+want {
				t.Errorf("%s: the server saw %q", label, got)
			}
		}
		if got := proxytest.ReadAll(t, proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/").Body); got != "Bearer common" {
			t.Errorf("without a label the server saw %q", got)
		}
		p.logged(t, `"client":"build-1","profile":"builds"`)

		for _, test := range []struct {
			label, authority, code string // "": it is served
		}{
			{"build-2", proxytest.Host + ":443", ""},
			{"build-2", "sub." + proxytest.Host + ":443", "host_refused"},
			{"other", "sub." + proxytest.Host + ":443", ""},
			{"build-3", "tunnel.example:7", ""},
			{"other", "tunnel.example:7", "host_refused"},
			{"stranger", proxytest.Host + ":443", "label_refused"},
			{"foreign-1", "tunnel.example:7", "label_refused"},
		} {
			_, res := p.connectAs(t, test.label, test.authority)
			if test.code != "" {
				proxytest.WantRefusal(t, res, http.StatusForbidden, test.code, "http_request_denied")
			} else if res.StatusCode != http.StatusOK {
				t.Errorf("%s to %s: %s", test.label, test.authority, res.Status)
			}
		}
		for range 3 {
			p.connectAs(t, "build-4", proxytest.Host+":443")
		}
		_, res := p.connectAs(t, "build-4", proxytest.Host+":443")
		proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
	})
}

// TestReconfigureProfiles has what a profile says count on the next request of a
// tunnel that is open.
func TestReconfigureProfiles(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		backend := proxytest.NewBackend(t, proto, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = bearerOf("common") })
		for _, test := range []struct {
			name    string
			profile Profile
			want    string // what the server sees, or the code of the refusal
		}{
			{"signer", Profile{Signer: bearerOf("builds")}, "Bearer builds"},
			{"hosts", Profile{Signer: bearerOf("builds"), Hosts: patterns(t, "sub."+proxytest.Host)}, "host_refused"},
			{"refuse", Profile{Refuse: true}, "label_refused"},
		} {
			c := p.clientAs(t, proto, url.UserPassword("build-1", ""))
			if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "Bearer common" {
				t.Fatalf("the server saw %q", got)
			}
			test.profile.Labels, test.profile.ConnectionsPerLabel = labels(t, "build-*"), 10
			p.reconfigure(func(c *Config) { c.Profiles = []Profile{test.profile} })
			res := proxytest.Get(t, c, proxytest.Origin+"/")
			if strings.HasPrefix(test.want, "Bearer ") {
				if got := proxytest.ReadAll(t, res.Body); got != test.want {
					t.Errorf("%s: the server saw %q", test.name, got)
				}
			} else {
				proxytest.WantRefusal(t, res, http.StatusForbidden, test.want, "http_request_denied")
			}
			p.reconfigure(func(c *Config) { c.Profiles = nil })
		}
	})
}
