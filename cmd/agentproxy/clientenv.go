package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// The variables that point programs at a proxy and have them trust its CA. This
// table is the one source of what env prints and run sets.
var (
	// proxyVariables name the proxy. Both cases, for some programs read only
	// one, and an inherited value in the other would win.
	proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
	// noProxyVariables name the hosts that are reached directly.
	noProxyVariables = []string{"NO_PROXY", "no_proxy"}
	// bundleVariables replace a program's roots, so they name a bundle of the
	// system's roots and the CA.
	bundleVariables = []string{
		"CODEX_CA_CERTIFICATE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT",
		"AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "DENO_CERT", "BUNDLE_SSL_CA_CERT", "NPM_CONFIG_CAFILE", "NIX_SSL_CERT_FILE",
	}
	// extraCAVariables add to a program's roots, so they name the CA alone.
	extraCAVariables = []string{"NODE_EXTRA_CA_CERTS"}
)

// variable is one variable of a client's environment.
type variable struct{ name, value string }

// clientEnv says how a client reaches the proxy.
type clientEnv struct {
	proxyURL string
	bundle   string // file with the system's roots and the CA
	ca       string // file with the CA
	noProxy  string
}

func (e clientEnv) variables() []variable {
	var vars []variable
	set := func(names []string, value string) {
		for _, name := range names {
			vars = append(vars, variable{name, value})
		}
	}
	set(proxyVariables, e.proxyURL)
	set(noProxyVariables, e.noProxy)
	set([]string{"NODE_USE_ENV_PROXY"}, "1")
	set(bundleVariables, e.bundle)
	set(extraCAVariables, e.ca)
	return vars
}

// apply returns environ with the variables in place of what it had.
func (e clientEnv) apply(environ []string) []string {
	vars := e.variables()
	kept := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.ContainsFunc(vars, func(v variable) bool { return v.name == name })
	})
	for _, v := range vars {
		kept = append(kept, v.name+"="+v.value)
	}
	return kept
}

// proxyURL is what a client finds the listener under.
func proxyURL(address, label, token string) (string, error) {
	network, _, err := listenAddress(address)
	host, port, splitErr := net.SplitHostPort(address)
	if err != nil || splitErr != nil || network != "tcp" || port == "0" {
		return "", fmt.Errorf("listen is %q: programs find a proxy by a host and a fixed port only; choose such an address, as in 127.0.0.1:8080", address)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if token != "" {
		u.User = url.UserPassword(label, token)
	}
	return u.String(), nil
}

// noProxy is the list of hosts to be reached directly: this machine, and what
// was there before, but for entries that would lead a request for an
// intercepted host past the proxy. Those are returned as dropped.
func noProxy(env cli.Environment, intercepted hosts.Patterns) (list string, dropped []string) {
	entries := []string{"localhost", "127.0.0.1", "::1"}
	for _, name := range noProxyVariables {
		for entry := range strings.SplitSeq(env.Get(name), ",") {
			entry = strings.TrimSpace(entry)
			switch {
			case entry == "" || slices.Contains(entries, entry) || slices.Contains(dropped, entry):
			case bypasses(entry, intercepted):
				dropped = append(dropped, entry)
			default:
				entries = append(entries, entry)
			}
		}
	}
	return strings.Join(entries, ","), dropped
}

// bypasses reports whether a NO_PROXY entry covers an intercepted host, by the
// widest reading that programs give it: a name also stands for all below it.
func bypasses(entry string, intercepted hosts.Patterns) bool {
	name := strings.ToLower(entry)
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.Trim(name, "*.")
	if name == "" {
		return true
	}
	for _, pattern := range intercepted {
		host := strings.TrimPrefix(pattern.String(), "*.")
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host == name || strings.HasSuffix(host, "."+name) || strings.HasSuffix(name, "."+host) {
			return true
		}
	}
	return false
}

// envDir is a directory with files for a client's environment.
type envDir struct {
	path string
	// write writes a file. To wait for the disk takes a fifth of the time that
	// run needs to start, and nobody reads what is in a run's directory after a
	// crash.
	write func(path string, content []byte, perm fs.FileMode) error
	// read returns what a file holds now.
	read func(path string) ([]byte, error)
}

func lastingDir(path string) envDir { return envDir{path, safefile.Write, readFile} }
func runsDir(path string) envDir    { return envDir{path, os.WriteFile, readFile} }

// viewDir is a directory that only an isolated command sees. It puts its files into
// files, by their name in it.
func viewDir(path string, files map[string][]byte) envDir {
	name := func(file string) string {
		rel, _ := filepath.Rel(path, file) // both are absolute
		return rel
	}
	return envDir{
		path: path,
		write: func(file string, content []byte, _ fs.FileMode) error {
			files[name(file)] = content
			return nil
		},
		read: func(file string) ([]byte, error) { return files[name(file)], nil },
	}
}

// writeBundle writes the bundle of the system's roots and the CA into dir. What
// others means are roots of the client besides.
func writeBundle(dir envDir, ca *certs.Authority, env cli.Environment, others ...[]byte) (string, error) {
	roots, _, err := certs.SystemRoots(env.Get)
	if err != nil {
		return "", err
	}
	for _, other := range others {
		roots, _ = roots.With(other)
	}
	path := bundlePath(dir.path)
	return path, dir.writeCertificates(path, ca.Bundle(roots), remedyStateDir)
}

func bundlePath(dir string) string { return filepath.Join(dir, "bundle.pem") }

// writeExtra writes a file with the CA, while a rotation is prepared the next one,
// and what else the client trusts besides the system's roots.
func writeExtra(dir envDir, ca *certs.Authority, other []byte) (string, error) {
	var extra certs.Roots
	extra, n := extra.With(other)
	if n == 0 && ca.Next() == nil && dir.path == filepath.Dir(ca.Path()) {
		return ca.Path(), nil
	}
	path := filepath.Join(dir.path, "extra.pem")
	return path, dir.writeCertificates(path, ca.Bundle(extra), remedyStateDir)
}

const remedyStateDir = "make the directory writable, or set state_dir to one that is"

// writeCertificates writes a file that everybody may read, unless it is there.
func (d envDir) writeCertificates(path string, content []byte, remedy string) error {
	if old, err := d.read(path); err == nil && string(old) == string(content) {
		return nil
	}
	if err := d.write(path, content, 0o644); err != nil {
		return fmt.Errorf("write the CA's certificate %s: %w; %s", path, cli.Cause(err), remedy)
	}
	return nil
}
