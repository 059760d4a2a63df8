package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestGuard has who may read the state: by the listener's address, the
// token, and what a browser tells of the page that asks.
func TestGuard(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	free, locked := access.Config{}, access.Config{Token: "sesame"}
	for _, test := range []struct {
		name   string
		who    access.Config
		path   string
		host   string
		header string
		want   int
	}{
		{"an address", free, "/readyz", "127.0.0.1:9080", "", 200},
		{"an address without port", free, "/readyz", "[::1]", "", 200},
		{"localhost", free, "/readyz", "localhost:9080", "", 200},
		{"DNS rebinding", free, "/readyz", "rebound.evil.example:9080", "", 421},
		{"DNS rebinding by a name of loopback", free, "/readyz", "127.0.0.1.evil.example", "", 421},
		{"another address", free, "/readyz", "192.0.2.1:9080", "", 421},
		{"no host", free, "/readyz", "", "", 421},

		{"a typed address", free, "/readyz", "127.0.0.1:9080", "Sec-Fetch-Site: none", 200},
		{"its own page", free, "/readyz", "127.0.0.1:9080", "Sec-Fetch-Site: same-origin\nOrigin: http://127.0.0.1:9080", 200},
		{"a page", free, "/readyz", "127.0.0.1:9080", "Sec-Fetch-Site: cross-site", 403},
		{"a page's form", free, "/readyz", "localhost:9080", "Origin: https://evil.example", 403},
		{"a sandboxed page", free, "/readyz", "localhost:9080", "Origin: null", 403},
		{"a page of another port", free, "/healthz", "localhost:9080", "Sec-Fetch-Site: same-site\nOrigin: http://localhost:3000", 403},
		{"a page that says two things", free, "/readyz", "localhost:9080", "Sec-Fetch-Site: same-origin\nSec-Fetch-Site: cross-site", 403},
		{"a preflight", free, "/readyz", "127.0.0.1:9080", "Origin: https://evil.example\nAccess-Control-Request-Method: GET", 403},

		{"the token", locked, "/readyz", "192.0.2.1:9080", "Authorization: Bearer sesame", 200},
		{"the token and a name", locked, "/readyz", "admin.example", "Authorization: bearer sesame", 200},
		{"no token", locked, "/readyz", "192.0.2.1:9080", "", 401},
		{"no token from loopback", locked, "/readyz", "127.0.0.1:9080", "", 401},
		{"a wrong token", locked, "/readyz", "192.0.2.1:9080", "Authorization: Bearer sesam", 401},
		{"a longer token", locked, "/readyz", "192.0.2.1:9080", "Authorization: Bearer sesame2", 401},
		{"another scheme", locked, "/readyz", "192.0.2.1:9080", "Authorization: Basic sesame", 401},
		{"two tokens", locked, "/readyz", "192.0.2.1:9080", "Authorization: Bearer sesame\nAuthorization: Bearer x", 401},
		{"no token for what there is not", locked, "/nothing", "192.0.2.1:9080", "", 401},
		{"no token for /healthz", locked, "/healthz", "192.0.2.1:9080", "", 200},
		{"DNS rebinding for /healthz", locked, "/healthz", "rebound.evil.example", "", 421},
		{"a page with the token", locked, "/readyz", "192.0.2.1:9080", "Authorization: Bearer sesame\nOrigin: https://evil.example", 403},

		{"another user", access.Config{Users: access.Users{}}, "/healthz", "127.0.0.1:9080", "", 403},
		{"a page of another user", access.Config{Users: access.Users{}}, "/healthz", "rebound.evil.example", "", 421},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, test.path, nil)
			r.Host = test.host
			for line := range strings.Lines(test.header) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				r.Header.Add(name, value)
			}
			w := httptest.NewRecorder()
			guard(test.who, next).ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, test.want)
			}
			for name := range w.Header() {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s lets a page read the answer", name)
				}
			}
			if w.Code == 421 && strings.Contains(w.Body.String(), "agentproxy") {
				t.Errorf("a page is told what is here: %s", w.Body)
			}
		})
	}
}

// TestAdminOverSocket asks over a Unix socket, where names do not matter.
func TestAdminOverSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := app.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           guard(access.Config{}, http.NotFoundHandler()),
		ReadHeaderTimeout: time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-served
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://admin/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Error(response.Status)
	}
}
