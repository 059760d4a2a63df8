// Package clientenv makes the environment that points a program at the proxy: its
// variables, and the files of certificates that they name. It also finds what would lead
// the program past the proxy.
package clientenv

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
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// The variables that point programs at a proxy and make them trust its CA. env prints
// them, and run sets them.
var (
	// proxyVariables name the proxy. Some programs read only one case, and an inherited
	// value in the other case would win.
	proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
	// noProxyVariables name the hosts that are reached directly.
	noProxyVariables = []string{"NO_PROXY", "no_proxy"}
	// BundleVariables replace a program's roots, so they name a bundle of the
	// system's roots and the CA.
	BundleVariables = []string{
		"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT",
		"AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "DENO_CERT", "BUNDLE_SSL_CA_CERT", "NPM_CONFIG_CAFILE", "NIX_SSL_CERT_FILE",
	}
	// ExtraCAVariables add to a program's roots, so they name the CA alone.
	ExtraCAVariables = []string{codexVariable, nodeVariable}
)

const (
	// codexVariable adds to Codex's roots. Without it, SSL_CERT_FILE does. Codex parses the
	// file for each of its HTTP clients: a bundle takes a tenth of the first turn's time.
	codexVariable = "CODEX_CA_CERTIFICATE"
	nodeVariable  = "NODE_EXTRA_CA_CERTS"
)

// Variable is one variable of a client's environment.
type Variable struct{ Name, Value string }

// DotenvVariables returns the variables by which a .env file would lead Codex past the
// proxy.
func DotenvVariables() []string {
	return slices.Concat(proxyVariables, noProxyVariables, BundleVariables, ExtraCAVariables, []string{"SSL_CERT_DIR"})
}

// Options say what a client's environment is made of.
type Options struct {
	Config  *config.Config
	Env     cli.Environment // that the client would have otherwise
	CA      *certs.Authority
	Dir     Dir    // of the files that variables name
	Address string // of the proxy's listener, "host:port"
	Label   string // session label, used with a token
	Token   string // "" for none
	Warn    func(string)
}

// New returns the environment of a client, and writes the files that it names.
func New(o Options) (Env, error) {
	var e Env
	var err error
	if e.proxyURL, err = proxyURL(o.Address, o.Label, o.Token); err != nil {
		return e, err
	}
	users := readUsersCAs(o.Env, o.Config.CAFile)
	for _, problem := range users.problems {
		o.Warn(problem)
	}
	if e.ca, err = writeExtra(o.Dir, o.CA, users.extra); err != nil {
		return e, err
	}
	var dropped []string
	e.noProxy, dropped = noProxy(o.Env, o.Config.Agent.Intercept)
	if len(dropped) > 0 {
		o.Warn("left out of NO_PROXY, for it would lead requests past the proxy: " + strings.Join(dropped, ","))
	}
	if e.bundle, err = WriteBundle(o.Dir, o.CA, users.env, users.bundles...); err != nil {
		return e, err
	}
	e.codex = e.ca
	if users.codexByBundle() {
		e.codex = e.bundle
	}
	return e, nil
}

// Env holds the values of a client's variables.
type Env struct {
	proxyURL string
	bundle   string // file with the system's roots and the CA
	ca       string // file with the CA
	codex    string // one of the two, for Codex
	noProxy  string
}

// Variables returns the variables that a client is started with.
func (e Env) Variables() []Variable {
	var vars []Variable
	set := func(names []string, value string) {
		for _, name := range names {
			vars = append(vars, Variable{name, value})
		}
	}
	set(proxyVariables, e.proxyURL)
	set(noProxyVariables, e.noProxy)
	set([]string{"NODE_USE_ENV_PROXY"}, "1")
	set(BundleVariables, e.bundle)
	set([]string{codexVariable}, e.codex)
	set([]string{nodeVariable}, e.ca)
	return vars
}

// Apply returns environ with the variables set.
func (e Env) Apply(environ []string) []string {
	for _, v := range e.Variables() {
		environ = SetVariables(environ, v.Name+"="+v.Value)
	}
	return environ
}

// SetVariables returns environ with variables of the form "name=value" set.
func SetVariables(environ []string, variables ...string) []string {
	environ = slices.Clone(environ)
	for _, v := range variables {
		name, _, _ := strings.Cut(v, "=")
		environ = slices.DeleteFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
		environ = append(environ, v)
	}
	return environ
}

// proxyURL returns the URL by which a client reaches the listener at address.
func proxyURL(address, label, token string) (string, error) {
	network, _, err := config.ParseAddress(address)
	_, port, splitErr := net.SplitHostPort(address)
	if err != nil || splitErr != nil || network != "tcp" || port == "0" {
		return "", fmt.Errorf("listen is %q: programs find a proxy by a host and a fixed port only; choose such an address, as in 127.0.0.1:8080", address)
	}
	u := url.URL{Scheme: "http", Host: config.Dialable(network, address)}
	if token != "" {
		u.User = url.UserPassword(label, token)
	}
	return u.String(), nil
}

// noProxy returns the list of hosts to be reached directly: this machine, and the entries of
// env. It drops entries that would lead requests for intercepted hosts past the proxy.
func noProxy(env cli.Environment, intercepted hosts.Patterns) (list string, dropped []string) {
	entries := []string{"localhost", "127.0.0.1", "::1"}
	for _, name := range noProxyVariables {
		for entry := range strings.SplitSeq(env.Get(name), ",") {
			entry = strings.TrimSpace(entry)
			switch {
			case entry == "" || slices.Contains(entries, entry) || slices.Contains(dropped, entry):
			case coversIntercepted(entry, intercepted):
				dropped = append(dropped, entry)
			default:
				entries = append(entries, entry)
			}
		}
	}
	return strings.Join(entries, ","), dropped
}

// coversIntercepted reports whether a NO_PROXY entry covers an intercepted host, by the
// widest reading that programs give it: a name also stands for all below it.
func coversIntercepted(entry string, intercepted hosts.Patterns) bool {
	name := strings.ToLower(entry)
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.Trim(name, "*.")
	if name == "" {
		return true
	}
	for _, pattern := range intercepted {
		host := pattern.Domain()
		if host == name || strings.HasSuffix(host, "."+name) || strings.HasSuffix(name, "."+host) {
			return true
		}
	}
	return false
}

// Dir is a directory with files for a client's environment.
type Dir struct {
	path string
	// write writes a file. A run does not wait for the disk, which would take a fifth of
	// the time to start: nobody reads its files after a crash.
	write func(path string, content []byte, perm fs.FileMode) error
	// read reads a file.
	read func(path string) ([]byte, error)
}

// LastingDir returns a directory whose files outlive a crash.
func LastingDir(path string) Dir { return Dir{path, safefile.Write, cli.ReadFile} }

// RunDir returns a directory whose files need not outlive a crash.
func RunDir(path string) Dir { return Dir{path, os.WriteFile, cli.ReadFile} }

// ViewDir returns a directory that only an isolated command sees. Its files are put into
// files, by their name in it.
func ViewDir(path string, files map[string][]byte) Dir {
	name := func(file string) string {
		rel, _ := filepath.Rel(path, file) // both are absolute
		return rel
	}
	return Dir{
		path: path,
		write: func(file string, content []byte, _ fs.FileMode) error {
			files[name(file)] = content
			return nil
		},
		read: func(file string) ([]byte, error) { return files[name(file)], nil },
	}
}

// WriteBundle writes the bundle of the system's roots, the CA and others into dir. others
// are further roots of the client, in PEM.
func WriteBundle(dir Dir, ca *certs.Authority, env cli.Environment, others ...[]byte) (string, error) {
	roots, _, err := certs.SystemRoots(env.Get)
	if err != nil {
		return "", err
	}
	for _, other := range others {
		roots, _ = roots.With(other)
	}
	path := BundlePath(dir.path)
	return path, dir.WriteCertificates(path, ca.Bundle(roots), remedyStateDir)
}

// BundlePath returns the path of the bundle in a directory.
func BundlePath(dir string) string { return filepath.Join(dir, "bundle.pem") }

// writeExtra writes a file with the CA, a prepared one, and other, what the client trusts
// besides the system's roots. Where that is the CA alone, it returns the CA's own file.
func writeExtra(dir Dir, ca *certs.Authority, other []byte) (string, error) {
	var extra certs.Roots
	extra, n := extra.With(other)
	if n == 0 && ca.Next() == nil && dir.path == filepath.Dir(ca.Path()) {
		return ca.Path(), nil
	}
	path := filepath.Join(dir.path, "extra.pem")
	return path, dir.WriteCertificates(path, ca.Bundle(extra), remedyStateDir)
}

const remedyStateDir = "make the directory writable, or set state_dir to one that is"

// WriteCertificates writes a file that everybody may read, unless it has that content.
func (d Dir) WriteCertificates(path string, content []byte, remedy string) error {
	if old, err := d.read(path); err == nil && string(old) == string(content) {
		return nil
	}
	if err := d.write(path, content, 0o644); err != nil {
		return fmt.Errorf("write the CA's certificate %s: %w; %s", path, safefile.Cause(err), remedy)
	}
	return nil
}
