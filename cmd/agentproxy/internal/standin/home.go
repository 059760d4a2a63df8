// Package standin runs agentproxy against the stand-in for the ChatGPT backend: it writes the
// files that a proxy in front of it needs, and plays the demo.
package standin

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Address returns the "host:port" by which others reach a server that listens on listen: with
// host, if that is not "", or with an address of this machine in place of 0.0.0.0 and [::],
// which are none to connect to.
func Address(listen, host string) string {
	listenHost, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if host == "" {
		host = listenHost
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			addrs, _ := net.InterfaceAddrs() // without them, loopback is left
			host = outward(addrs)
		}
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// outward returns the first of the addresses that other machines may reach, IPv4 before IPv6,
// and that of loopback if there is none.
func outward(addrs []net.Addr) string {
	host := "127.0.0.1"
	for _, addr := range addrs {
		network, ok := addr.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() {
			continue
		}
		if network.IP.To4() != nil {
			return network.IP.String()
		}
		if host == "127.0.0.1" {
			host = network.IP.String()
		}
	}
	return host
}

// WriteAll writes what [WriteHome] does, and before that the other credentials that can be
// given to a proxy: access-token, of a workspace, and identity.jwt.
func WriteAll(dir string, server *chatgpttest.Server, address string) (config string, err error) {
	if err := makeDir(dir); err != nil {
		return "", err
	}
	for name, credential := range map[string]string{
		"access-token": server.WorkspaceToken(chatgpttest.Account{}),
		"identity.jwt": server.IdentityJWT(server.RegisterIdentity(server.Login(chatgpttest.Account{}))),
	} {
		if err := write(filepath.Join(dir, name), []byte(credential+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	return WriteHome(dir, server, address)
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory %s: %w; name one that can be written with --dir", dir, safefile.Cause(err))
	}
	return nil
}

func write(path string, content []byte, mode os.FileMode) error {
	if err := safefile.Write(path, content, mode); err != nil {
		return fmt.Errorf("write %s: %w; name a directory that can be written with --dir", path, safefile.Cause(err))
	}
	return nil
}

// WriteHome writes the files that a proxy needs to use server, at an address, into dir, and
// returns the path of the configuration.
func WriteHome(dir string, server *chatgpttest.Server, address string) (string, error) {
	home := filepath.Join(dir, "codex-home")
	if err := makeDir(home); err != nil {
		return "", err
	}
	login := server.Login(chatgpttest.Account{})
	config := filepath.Join(dir, "agentproxy.yaml")
	// The configuration is the last: scripts wait for it.
	for _, file := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{
		{filepath.Join(dir, "backend-ca.pem"), server.CertPEM(), 0o644},
		{filepath.Join(home, "auth.json"), login.AuthJSON(), 0o600},
		{config, proxyConfig(dir, home, address), 0o644},
	} {
		if err := write(file.path, file.content, file.mode); err != nil {
			return "", err
		}
	}
	return config, nil
}

// proxyConfig returns the configuration of a proxy whose ChatGPT is at address.
func proxyConfig(dir, home, address string) []byte {
	return fmt.Appendf(nil, `# An agentproxy whose ChatGPT is the stand-in backend at %[3]s.
listen: 127.0.0.1:8080
state_dir: %[1]q
identity:
  codex_home: %[2]q
upstream:
  connect_to:
    "chatgpt.com:443": %[3]q
    "*.chatgpt.com:443": %[3]q # ab.chatgpt.com too, which takes Codex's telemetry
    "chat.openai.com:443": %[3]q
    "auth.openai.com:443": %[3]q
    "auth.api.openai.org:443": %[3]q
  ca_file: %[4]q
other_hosts: refuse
`, filepath.Join(dir, "state"), home, address, filepath.Join(dir, "backend-ca.pem"))
}
