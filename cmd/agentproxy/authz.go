package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/authz"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy"
)

// authzConfig is the endpoint for gateways that send requests themselves.
type authzConfig struct {
	Listen      string `yaml:"listen"`
	Token       string `yaml:"token"`
	TokenFile   string `yaml:"token_file"`
	LabelHeader string `yaml:"label_header"`
}

func (c *config) validateAuthz(cli.Environment) (key string, err error) {
	if c.Authz.Listen == "" {
		for _, unused := range []variable{{"token", c.Authz.Token}, {"token_file", c.Authz.TokenFile}, {"label_header", c.Authz.LabelHeader}} {
			if unused.value != "" {
				return "authz." + unused.name, errors.New("nobody can ask; set authz.listen, or leave it out")
			}
		}
		return "", nil
	}
	if key, err := atMostOne(variable{"authz.token", c.Authz.Token}, variable{"authz.token_file", c.Authz.TokenFile}); err != nil {
		return key, err
	}
	if c.authzEntrance.token, key, err = c.readToken("authz.token", c.Authz.Token, c.Authz.TokenFile, "a header"); err != nil {
		return key, err
	}
	network, address, err := listenAddress(c.Authz.Listen)
	if err != nil {
		return "authz.listen", err
	}
	if network == "tcp" && c.authzEntrance.free() {
		if c.authzEntrance.users = ownUser(); c.authzEntrance.users == nil || !isLoopback(address) {
			return "authz.listen", fmt.Errorf("others can reach %s, and would be given credentials; set authz.token, or listen on unix:/path", c.Authz.Listen)
		}
	}
	if name := c.Authz.LabelHeader; name != "" {
		name = http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || name == authz.TokenHeader || slices.Contains(proxy.CredentialHeaders(), name) {
			return "authz.label_header", fmt.Errorf("%q is not a header that a gateway can put a label in; name one of its own, such as X-Agentproxy-Label", c.Authz.LabelHeader)
		}
	}
	return "", nil
}

// authz returns what the endpoint for gateways goes by at the moment.
func (r *reloader) authz() authz.Config {
	a, done := r.use()
	defer done()
	return authz.Config{
		Authorize:   r.proxy.Authorize,
		Token:       a.config.authzEntrance.token,
		Users:       a.config.authzEntrance.users,
		LabelHeader: a.config.Authz.LabelHeader,
		Log:         a.log,
	}
}
