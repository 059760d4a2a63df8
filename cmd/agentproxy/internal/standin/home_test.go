package standin

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestBackendConfigIsLast: scripts start when the configuration is there, so all
// that it names is there before.
func TestBackendConfigIsLast(t *testing.T) {
	server := chatgpttest.NewServer()
	defer server.Close()
	for range 20 {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "codex-home", "auth.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		config, err := WriteHome(dir, server, server.Addr())
		if err == nil {
			t.Fatal("a log-in is written over a directory")
		}
		if _, err := os.Stat(filepath.Join(dir, "agentproxy.yaml")); err == nil {
			t.Fatalf("%s was written before the log-in", config)
		}
	}
}

// TestAddress has addresses that others can connect to, and those that are none.
func TestAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ listen, host, want string }{
		{"127.0.0.1:8443", "", "127.0.0.1:8443"},
		{"192.0.2.1:8443", "", "192.0.2.1:8443"},
		{"[2001:db8::1]:8443", "", "[2001:db8::1]:8443"},
		{"0.0.0.0:8443", "backend", "backend:8443"},
		{"[::]:8443", "2001:db8::2", "[2001:db8::2]:8443"},
		{"[::]:8443", "[2001:db8::2]", "[2001:db8::2]:8443"},
	} {
		if got := Address(test.listen, test.host); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
	for _, listen := range []string{"0.0.0.0:1", "[::]:1", ":1"} {
		host, _, err := net.SplitHostPort(Address(listen, ""))
		if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
			t.Errorf("%s: %s, %v", listen, host, err)
		}
	}
	of := func(cidrs ...string) (addrs []net.Addr) {
		for _, s := range cidrs {
			ip, network, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return addrs
	}
	for want, addrs := range map[string][]net.Addr{
		"127.0.0.1":   of("127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.1.1/16"),
		"172.17.0.2":  of("127.0.0.1/8", "2001:db8::1/64", "172.17.0.2/16", "10.0.0.1/8"),
		"2001:db8::1": of("::1/128", "fe80::1/64", "2001:db8::1/64"),
	} {
		if got := outward(addrs); got != want {
			t.Errorf("%v: %s, want %s", addrs, got, want)
		}
	}
}
