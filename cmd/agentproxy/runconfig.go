package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
)

func (c *config) validateRun(cli.Environment) (string, error) {
	if _, err := launch.ParseMode(c.Run.Isolate); err != nil {
		return "run.isolate", err
	}
	for key, names := range map[string][]string{"pass": c.Run.Env.Pass, "drop": c.Run.Env.Drop} {
		for i, name := range names {
			if name == "" || strings.ContainsAny(name, "=\x00") {
				return fmt.Sprintf("run.env.%s[%d]", key, i), fmt.Errorf("%q is not the name of a variable", name)
			}
		}
	}
	for i, path := range c.Run.Hide {
		if !filepath.IsAbs(path) {
			return fmt.Sprintf("run.hide[%d]", i), fmt.Errorf("%q is not an absolute path", path)
		}
	}
	return "", nil
}

// secretPaths returns the files and directories that hold secrets of any profile
// besides state_dir and the Codex home of the profile in use, and the configuration
// itself at path, which may hold tokens.
func (c *config) secretPaths(path string) []string {
	paths := c.sockets()
	paths = append(paths, path, c.AdminTokenFile, c.Clients.TokenFile, c.Clients.TokensFile, c.Authz.TokenFile, c.Audit.File)
	homes := []string{c.Identity.CodexHome}
	signers := []signerConfig{c.Signer}
	paths = append(paths, c.Identity.File)
	for _, p := range c.Profiles {
		homes = append(homes, p.Identity.CodexHome)
		paths = append(paths, p.Identity.File)
		if p.Signer != nil {
			signers = append(signers, *p.Signer)
		}
	}
	for _, s := range signers {
		paths = append(paths, s.Default.TokenFile)
		for _, rule := range s.Rules {
			paths = append(paths, rule.Signer.TokenFile)
		}
	}
	paths = append(paths, homes...)
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" })
}

// sockets returns the files that a serve with this configuration listens at.
func (c *config) sockets() (paths []string) {
	for _, listen := range []string{c.Listen, c.Admin, c.Authz.Listen} {
		if path, ok := strings.CutPrefix(listen, "unix:"); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// useShellsProxy has the requests of a run leave by the proxy that the shell's
// variables name, unless the configuration names one or the shell's is this very
// program.
func (c *command) useShellsProxy(config *config) {
	if config.Upstream.Proxy != "" || config.source.has("upstream.proxy") {
		return
	}
	via := c.env.First("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
	parsed := via
	if !strings.Contains(via, "://") { // as curl and Go take it
		parsed = "http://" + via
	}
	u, err := url.Parse(parsed)
	if via == "" || err != nil || u.Host == "" || u.Host == config.Listen || config.leadsHere(u) {
		return
	}
	config.Upstream.Proxy = "env"
	config.upstream.ProxyByURL = shellsProxy(c.env)
	u.User = nil
	c.warnOnce(config.StateDir, "requests leave through the proxy that HTTPS_PROXY names in this shell, "+u.String()+"; upstream.proxy names another, or \"\" for none")
}

// leadsHere reports whether a proxy's URL is one that agentproxy env has printed.
func (c *config) leadsHere(u *url.URL) bool {
	own, err := proxyURL(c.Listen, u.User.Username(), "")
	if err != nil {
		return false
	}
	ours, err := url.Parse(own)
	return err == nil && ours.Host == u.Host
}

// shellsProxy returns the proxy that variables name.
func shellsProxy(env cli.Environment) httpproxy.Config {
	return httpproxy.Config{
		HTTPProxy:  env.First("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: env.First("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
		NoProxy:    env.First("NO_PROXY", "no_proxy"),
	}
}
