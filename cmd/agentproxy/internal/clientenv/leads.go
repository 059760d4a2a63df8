package clientenv

import (
	"net"
	"net/url"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

// Lead is a variable of an environment that names a proxy.
type Lead struct {
	Name string
	// URL is its value, nil if that is no URL of a proxy.
	URL *url.URL
	// HTTPS is whether programs go by it for https:// URLs.
	HTTPS bool
	// Here is whether it names the listener of the configuration.
	Here bool
}

// Place returns where the variable leads, without a user and a password.
func (l Lead) Place() string {
	if l.URL == nil {
		return "what is no URL"
	}
	return (&url.URL{Scheme: l.URL.Scheme, Host: l.URL.Host}).String()
}

// Leads returns the variables of an environment that name a proxy.
func Leads(env cli.Environment, c *config.Config) (leads []Lead) {
	for _, name := range proxyVariables {
		value := env.Get(name)
		if value == "" {
			continue
		}
		lead := Lead{Name: name, HTTPS: !strings.EqualFold(name, "HTTP_PROXY")}
		if u := ParseProxy(value); u != nil {
			lead.URL, lead.Here = u, LeadsHere(c, u)
		}
		leads = append(leads, lead)
	}
	return leads
}

// ParseProxy returns the URL of a proxy in a variable, as curl and Go take it, nil for none.
func ParseProxy(value string) *url.URL {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return nil
	}
	return u
}

// Excluded returns the entries of NO_PROXY that lead requests for intercepted hosts past
// every proxy.
func Excluded(env cli.Environment, c *config.Config) []string {
	_, dropped := noProxy(env, c.Agent.Intercept)
	return dropped
}

// LeadsHere reports whether the URL of a proxy is that of the listener of c.
func LeadsHere(c *config.Config, u *url.URL) bool {
	if u.Host == c.Clients.Listen {
		return true
	}
	own, err := proxyURL(c.Clients.Listen, u.User.Username(), "")
	if err != nil {
		return false
	}
	ours, err := url.Parse(own)
	return err == nil && (ours.Host == u.Host || ours.Port() == u.Port() && isIPv4Loopback(ours.Hostname()) && isIPv4Loopback(u.Hostname()))
}

// isIPv4Loopback reports whether programs reach 127.0.0.1 by a host.
func isIPv4Loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).Equal(net.IPv4(127, 0, 0, 1))
}
