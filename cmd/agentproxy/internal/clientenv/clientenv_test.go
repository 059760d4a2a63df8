package clientenv

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/proxy/hosts"
)

func TestBypasses(t *testing.T) {
	t.Parallel()
	var intercepted hosts.Patterns
	for _, s := range []string{"chatgpt.com", "*.chatgpt.com", "chat.openai.com:443"} {
		pattern, err := hosts.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		intercepted = append(intercepted, pattern)
	}
	for entry, want := range map[string]bool{
		"*": true, ".": true, "chatgpt.com": true, "ChatGPT.com": true, ".chatgpt.com": true, "*.chatgpt.com": true,
		"chatgpt.com:443": true, "ab.chatgpt.com": true, "com": true, ".com": true, "chat.openai.com": true,
		"openai.com": true, ".openai.com:443": true, "*.openai.com": true, "chatgpt.com.": true,
		"localhost": false, "127.0.0.1": false, "::1": false, "[::1]:8080": false, "10.0.0.0/8": false, "example.com": false,
		"evilchatgpt.com": false, "gpt.com": false, "api.openai.com": false, "chatgpt.com.example": false,
	} {
		if got := coversIntercepted(entry, intercepted); got != want {
			t.Errorf("coversIntercepted(%q) = %t, want %t", entry, got, want)
		}
	}
}

func TestProxyURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ address, label, token, want string }{
		{"127.0.0.1:8080", "x", "", "http://127.0.0.1:8080"},
		{"localhost:8080", "x", "", "http://localhost:8080"},
		{":8080", "x", "t", "http://x:t@127.0.0.1:8080"},
		{"0.0.0.0:8080", "x", "t", "http://x:t@127.0.0.1:8080"},
		{"[::]:8080", "x", "t", "http://x:t@127.0.0.1:8080"},
		{"[::1]:8080", "x", "t", "http://x:t@[::1]:8080"},
		{"10.0.0.5:8080", "build 42", "a@b:c/d", "http://build%2042:a%40b%3Ac%2Fd@10.0.0.5:8080"},
	} {
		if got, err := proxyURL(test.address, test.label, test.token); err != nil || got != test.want {
			t.Errorf("proxyURL(%q) = %s, %v, want %s", test.address, got, err, test.want)
		}
	}
	for _, address := range []string{"unix:/run/sock", "127.0.0.1:0", "127.0.0.1"} {
		want := `listen is "` + address + `": programs find a proxy by a host and a fixed port only; choose such an address, as in 127.0.0.1:8080`
		if got, err := proxyURL(address, "x", ""); err == nil || err.Error() != want {
			t.Errorf("proxyURL(%q) = %s, %v, want %s", address, got, err, want)
		}
	}
}

func TestClientEnvApply(t *testing.T) {
	t.Parallel()
	e := Env{proxyURL: "http://p", bundle: "/b", ca: "/c", codex: "/d", noProxy: "localhost"}
	before := []string{"PATH=/bin", "https_proxy=http://old", "HTTPS_PROXY=http://old", "NO_PROXY=*", "NODE_EXTRA_CA_CERTS=/old", "HTTPS_PROXY_X=kept", "EMPTY="}
	untouched := slices.Clone(before)
	got := e.Apply(before)
	if !slices.Equal(before, untouched) {
		t.Error("the environment that was given was changed")
	}
	want := []string{
		"PATH=/bin", "HTTPS_PROXY_X=kept", "EMPTY=",
		"HTTPS_PROXY=http://p", "https_proxy=http://p", "HTTP_PROXY=http://p", "http_proxy=http://p", "ALL_PROXY=http://p", "all_proxy=http://p",
		"NO_PROXY=localhost", "no_proxy=localhost", "NODE_USE_ENV_PROXY=1",
		"SSL_CERT_FILE=/b", "REQUESTS_CA_BUNDLE=/b", "CURL_CA_BUNDLE=/b", "GIT_SSL_CAINFO=/b", "PIP_CERT=/b",
		"AWS_CA_BUNDLE=/b", "CARGO_HTTP_CAINFO=/b", "DENO_CERT=/b", "BUNDLE_SSL_CA_CERT=/b", "NPM_CONFIG_CAFILE=/b", "NIX_SSL_CERT_FILE=/b",
		"CODEX_CA_CERTIFICATE=/d", "NODE_EXTRA_CA_CERTS=/c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
