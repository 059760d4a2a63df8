package app

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// readFile reads a file that a key of the configuration names, as cli.ReadFile.
type readFile func(path string) ([]byte, error)

// NeedsToken reports whether clients have to show a token.
func NeedsToken(a access.Config) bool { return a.Token != "" || a.Tokens != nil || a.IssuedOnly }

// DefaultLabel is the session label of clients that are given none.
const DefaultLabel = "agentproxy"

// TokenFor returns what a client with a session label shows, "" for nothing. The label is ""
// where nobody named one, and the client's then is [DefaultLabel].
func TokenFor(a access.Config, label string) (string, error) {
	named := label != ""
	label = cmp.Or(label, DefaultLabel)
	if a.IssuedOnly {
		return "", cli.Usagef("clients.issued is only, and no such token is kept; put one of agentproxy token issue --label %s into the proxy's URL", label)
	}
	if a.Tokens == nil {
		return a.Token, nil
	}
	token, ok := a.Tokens.Token(label)
	switch {
	case ok:
	case !named:
		return "", errNoLabel(a.Tokens.Labels())
	default:
		return "", cli.Usagef("clients.tokens_file has no token for the label %s that could be printed; name another with --label, or put a token, not its hash, there", label)
	}
	return token, nil
}

// errNoLabel returns an error that asks for one of the labels whose tokens can be printed.
func errNoLabel(labels []string) error {
	const most = 5
	if len(labels) == 0 {
		return cli.Usagef("clients.tokens_file has hashes and no token that could be printed; put a token there")
	}
	rest := ""
	if n := len(labels) - most; n > 0 {
		labels, rest = labels[:most], fmt.Sprintf(" and %d more", n)
	}
	return cli.Usagef("clients.tokens_file has a token for each label; name one with --label: %s%s", strings.Join(labels, ", "), rest)
}

// keepTokens makes a use the open tokens file of former if it is the same file, so that
// nothing that it remembers is lost.
func keepTokens(a *access.Config, former access.Config) error {
	if a.Tokens == nil || former.Tokens == nil || a.Tokens.Path() != former.Tokens.Path() {
		return nil
	}
	a.Tokens = former.Tokens
	return a.Tokens.Reread()
}

// resources hold the contents of files that a configuration names.
type resources struct {
	clients, admin, gateways access.Config
	upstream                 upstream.Config
	logins                   map[string]Login // by profile
	issuerRoots              [][]byte
}

// openResources opens the files that a configuration names, and looks up its programs.
func openResources(c *config.Config, read readFile) (r resources, err error) {
	if r.clients, err = openAccess(c, c.Clients, "clients.token", "a URL", read); err != nil {
		return r, err
	}
	if r.admin, err = OpenAdmin(c, read); err != nil {
		return r, err
	}
	if r.gateways, err = openAccess(c, c.Gateways, "authz.token", "a header", read); err != nil {
		return r, err
	}
	r.logins = map[string]Login{c.Agent.Profile: findLogin(c.Agent.Identity, read)}
	for i := range c.Profiles {
		if agent := &c.Profiles[i].Agent; !c.Profiles[i].Refuse {
			r.logins[agent.Profile] = findLogin(agent.Identity, read)
		}
	}
	r.upstream = c.Upstream
	if c.CAFile != "" {
		if r.upstream.RootCAs, err = readRoots(c.CAFile, read); err != nil {
			return r, c.Wrong("upstream.ca_file", err)
		}
	}
	if r.issuerRoots, err = openIssuers(c, read); err != nil {
		return r, err
	}
	return r, CheckCommands(c)
}

// CheckCommands looks up the programs that sign for the agents of a configuration.
func CheckCommands(c *config.Config) error {
	if err := checkCommands(c, &c.Agent); err != nil {
		return err
	}
	for i := range c.Profiles {
		if err := checkCommands(c, &c.Profiles[i].Agent); err != nil {
			return err
		}
	}
	return nil
}

// OpenAdmin returns the access to the admin listener. read reads the file of its token.
func OpenAdmin(c *config.Config, read func(path string) ([]byte, error)) (access.Config, error) {
	return openAccess(c, c.Admin, "admin_token", "a header", read)
}

// openAccess reads the tokens of an access. Its token is at key, or in the file that
// key_file names, and must be one that can stand in place.
func openAccess(c *config.Config, k config.Access, key, place string, read readFile) (access.Config, error) {
	a := access.Config{Token: k.Token, IssuedOnly: k.IssuedOnly}
	if k.OwnUser {
		a.Users = append(access.Users{uint32(os.Geteuid())}, k.UIDs...)
	}
	if k.TokenFile != "" {
		token, err := readToken(k.TokenFile, place, read)
		if err != nil {
			return a, c.Wrong(key+"_file", err)
		}
		a.Token = token
	}
	if k.TokensFile == "" {
		return a, nil
	}
	_, _ = read(k.TokensFile) // the file is watched even if it cannot be used
	var err error
	if a.Tokens, err = access.OpenTokenFile(k.TokensFile); err != nil {
		return a, c.Wrong("clients.tokens_file", err)
	}
	return a, nil
}

func readToken(path, place string, read readFile) (string, error) {
	const remedy = "write a token there, such as the output of: openssl rand -hex 32"
	raw, err := read(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w; %s", path, safefile.Cause(err), remedy)
	}
	if err := safefile.CheckPath(path, safefile.BeyondGroup); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	token := strings.TrimSpace(string(safefile.Text(raw)))
	if token == "" {
		return "", fmt.Errorf("%s is empty; %s", path, remedy)
	}
	return token, config.CheckToken(token, place)
}

// readRoots reads the root certificates of a file. The function that it returns adds the
// system's, which it reads when it is called for the first time.
func readRoots(path string, read readFile) (func() *x509.CertPool, error) {
	raw, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a file of certificates in PEM form", path, safefile.Cause(err))
	}
	own := x509.NewCertPool()
	if !own.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate; name a file of certificates in PEM form", path)
	}
	return sync.OnceValue(func() *x509.CertPool {
		pool, err := certs.SystemPool(os.Getenv)
		if err != nil {
			return own // a machine without roots
		}
		pool.AppendCertsFromPEM(raw)
		return pool
	}), nil
}

// checkCommands looks up the programs that sign for an agent.
func checkCommands(c *config.Config, agent *config.Agent) error {
	for i, s := range agent.Signer.All() {
		if s.Use != config.UseCommand {
			continue
		}
		if _, err := exec.LookPath(s.Command[0]); err != nil {
			return c.Wrong(agent.Key(agent.Signer.Key(i)+".command"), LookPathError(s.Command[0], err))
		}
	}
	return nil
}

// LookPathError returns why a program that the user named cannot be run.
func LookPathError(program string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w; if it is a program, make it executable with chmod u+x", program, safefile.Cause(errors.Unwrap(err)))
	}
	return fmt.Errorf("%s: %w; name a program that is installed, or its path", program, safefile.Cause(errors.Unwrap(err)))
}
