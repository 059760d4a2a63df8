package clientenv

import (
	"fmt"
	"slices"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// usersCAs are the CAs that a client trusts by its environment.
type usersCAs struct {
	env      cli.Environment // without variables that name nothing useful
	bundles  [][]byte        // of variables that replace the system's roots
	extra    []byte          // of variables that add to them
	problems []string
}

// codexByBundle reports whether Codex would add the roots of SSL_CERT_FILE, which only the
// bundle has.
func (u usersCAs) codexByBundle() bool { return u.env.Get("SSL_CERT_FILE") != "" }

// readUsersCAs reads the certificates that variables of env name, which a client's
// environment replaces, and those of file, upstream.ca_file.
func readUsersCAs(env cli.Environment, file string) usersCAs {
	u := usersCAs{env: env}
	var useless []string
	u.env.Lookup = func(name string) (string, bool) {
		if slices.Contains(useless, name) {
			return "", false
		}
		return env.Lookup(name)
	}
	read := func(name, path string) []byte {
		raw, err := cli.ReadFile(path)
		if err == nil {
			if _, n := (certs.Roots{}).With(raw); n > 0 || certs.HoldsOwn(raw) {
				return raw
			}
			u.problems = append(u.problems, fmt.Sprintf("%s names %s, which holds no certificate; what it was to add is not trusted", name, path))
		} else {
			u.problems = append(u.problems, fmt.Sprintf("%s names %s, which cannot be read: %s; what it was to add is not trusted", name, path, safefile.Cause(err)))
		}
		useless = append(useless, name)
		return nil
	}
	seen := make(map[string]bool)
	for _, name := range slices.Concat(BundleVariables, ExtraCAVariables) {
		path := env.Get(name)
		if path == "" || seen[path] && !slices.Contains(ExtraCAVariables, name) {
			continue
		}
		seen[path] = true
		raw := read(name, path)
		if name == nodeVariable || name == codexVariable && !u.codexByBundle() {
			u.extra = append(append(u.extra, '\n'), raw...)
		}
		u.bundles = append(u.bundles, raw)
	}
	if file != "" {
		raw := read("upstream.ca_file", file)
		u.bundles = append(u.bundles, raw)
		u.extra = append(append(u.extra, '\n'), raw...)
	}
	return u
}
