package backend

import (
	"net/url"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

// FuzzOverrides takes no URL that a credential should not go to.
func FuzzOverrides(f *testing.F) {
	for _, s := range []string{"", " ", "https://a.example/x/", "http://localhost:1/oauth/token?unified=true", "http://a.example", "https://u:p@a.example", "//a.example", "https://a.example#f", "ftp://a", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		o, err := OverridesFrom(func(string) string { return value })
		if err != nil {
			identitytest.NoLeak(t, err, "")
			return
		}
		all := o.withDefaults("https://chatgpt.com/backend-api")
		for _, got := range []string{all.AgentsURL, all.AccountsURL, all.JWKSURL, all.RefreshURL, all.RevokeURL} {
			u, err := url.Parse(got)
			if err != nil || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) || u.Hostname() == "" || strings.Contains(got, "#") {
				t.Errorf("%q became %q", value, got)
			}
		}
	})
}
