package access

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func FuzzProxyCredentials(f *testing.F) {
	for _, s := range []string{"Basic dXNlcjpwYXNz", "basic  dXNlcjpwYXNz ", "Basic", "Basic !", "Bearer x", "Basic Og==", "Basic dXNlcg=="} {
		f.Add(s, "user", "pass")
	}
	f.Fuzz(func(t *testing.T, header, user, password string) {
		h := http.Header{"Proxy-Authorization": {header}}
		if u, _, ok := proxyCredentials(h); strings.Contains(u, ":") || !ok && strings.HasPrefix(header, "Basic Og==") && len(header) == 10 {
			t.Errorf("%q: user %q, %v", header, u, ok)
		}
		if _, refused := New(Config{Token: "the right one"}, zerolog.Nop()).Admit(&http.Request{Header: h}); refused == nil {
			if _, p, _ := proxyCredentials(h); p != "the right one" {
				t.Errorf("%q is let in", header)
			}
		}
		if strings.Contains(user, ":") {
			return
		}
		h.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		if u, p, ok := proxyCredentials(h); !ok || u != user || p != password {
			t.Errorf("%q, %q are read as %q, %q, %v", user, password, u, p, ok)
		}
	})
}
