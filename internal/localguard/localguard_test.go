package localguard

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTokenIs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		shown, want string
		same        bool
	}{{"sesame", "sesame", true}, {"sesam", "sesame", false}, {"sesame2", "sesame", false}, {"", "sesame", false}, {"Sesame", "sesame", false}} {
		if TokenIs(test.shown, test.want) != test.same {
			t.Errorf("%q is %q: %v", test.shown, test.want, !test.same)
		}
	}
}

func TestHostAddr(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"localhost": "::1", "localhost:9090": "::1", "127.0.0.1:1": "127.0.0.1", "[::1]:1": "::1", "192.0.2.1": "192.0.2.1",
		"": "", "rebound.example": "", "127.0.0.1.rebound.example:80": "", "localhost.": "", "LOCALHOST": "", "127.1": "",
	} {
		addr, ok := HostAddr(&http.Request{Host: host})
		if ok != (want != "") || ok && addr.String() != want {
			t.Errorf("%q: %v, %v; want %q", host, addr, ok, want)
		}
	}
}

func TestFromBrowser(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]bool{"Origin": true, "Sec-Fetch-Site": true, "Sec-Fetch-Mode": true, "User-Agent": false, "Referer": false} {
		if got := FromBrowser(http.Header{field: {""}}); got != want {
			t.Errorf("%s: %v", field, got)
		}
	}
}

func TestForeignPage(t *testing.T) {
	t.Parallel()
	own := func(origin string) bool { return origin == "https://own.example" }
	for _, test := range []struct {
		origins, sites []string
		field          string
	}{
		{nil, nil, ""},
		{[]string{"https://own.example"}, nil, ""},
		{[]string{"https://own.example"}, []string{"same-origin"}, ""},
		{[]string{"https://own.example"}, []string{"same-site"}, ""},
		{nil, []string{"none"}, ""},
		{nil, []string{"same-site"}, "Sec-Fetch-Site"},
		{nil, []string{"cross-site"}, "Sec-Fetch-Site"},
		{nil, []string{"same-origin", "cross-site"}, "Sec-Fetch-Site"},
		{nil, []string{""}, "Sec-Fetch-Site"},
		{[]string{"null"}, nil, "Origin"},
		{[]string{"https://own.example", "https://evil.example"}, nil, "Origin"},
		{[]string{"https://own.example"}, []string{"cross-site"}, "Sec-Fetch-Site"},
	} {
		if field, _ := ForeignPage(test.origins, test.sites, own); field != test.field {
			t.Errorf("%q, %q: %q, want %q", test.origins, test.sites, field, test.field)
		}
	}
}

func TestOverUnixSocket(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, addr := range []net.Addr{&net.TCPAddr{}, &net.UnixAddr{}} {
		_, want := addr.(*net.UnixAddr)
		if got := OverUnixSocket(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))); got != want {
			t.Errorf("%T: %v", addr, got)
		}
	}
	if OverUnixSocket(r) {
		t.Error("a request on no known connection")
	}
}
