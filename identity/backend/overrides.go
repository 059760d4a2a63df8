package backend

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
)

// Overrides are URLs that replace the usual ones. Those that are "" replace none.
type Overrides struct {
	// AgentsURL is the base URL below which [identity.ProtocolAccounts] registers agents.
	AgentsURL string
	// AccountsURL is the base URL of the accounts service for everything else.
	AccountsURL string
	// JWKSURL is the base URL below which the key set of agent identities lies.
	JWKSURL string
	// RefreshURL is where tokens are refreshed.
	RefreshURL string
	// RevokeURL is where tokens are revoked.
	RevokeURL string
}

// The usual URLs of Codex. At DefaultRefreshURL it refreshes tokens.
const (
	defaultAccountsURL = "https://auth.openai.com/api/accounts"
	stagingAccountsURL = "https://auth.api.openai.org/api/accounts"
	DefaultRefreshURL  = "https://auth.openai.com/oauth/token"
	defaultRevokeURL   = "https://auth.openai.com/oauth/revoke"
)

// OverridesFrom returns the URLs in the environment variables by which Codex overrides
// its own. An empty variable counts as not set. The error names a variable whose URL must
// not get a credential.
func OverridesFrom(getenv func(string) string) (Overrides, error) {
	var o Overrides
	for _, v := range []struct {
		name string
		to   *string
	}{
		{"CODEX_AUTHAPI_BASE_URL", &o.AccountsURL},
		{"CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL", &o.AgentsURL},
		{"CODEX_AGENT_IDENTITY_JWKS_BASE_URL", &o.JWKSURL},
		{"CODEX_REFRESH_TOKEN_URL_OVERRIDE", &o.RefreshURL},
		{"CODEX_REVOKE_TOKEN_URL_OVERRIDE", &o.RevokeURL},
	} {
		value := strings.TrimRight(strings.TrimSpace(getenv(v.name)), "/")
		if value == "" {
			continue
		}
		// A URL that is asked as it stands may have a query.
		withoutQuery, _, _ := strings.Cut(value, "?")
		if err := CheckBaseURL(withoutQuery); err != nil {
			return Overrides{}, fmt.Errorf("environment variable %s: %w", v.name, err)
		}
		*v.to = value
	}
	return o, nil
}

// withDefaults returns o with the usual URLs of the backend at baseURL where o has
// none.
func (o Overrides) withDefaults(baseURL string) Overrides {
	accounts := defaultAccountsURL
	switch u, err := url.Parse(baseURL); {
	case err != nil:
	case isBelow(u.Hostname(), "chatgpt-staging.com"), isBelow(u.Hostname(), "openai-staging.com"):
		accounts = stagingAccountsURL
	case u.Scheme == "http" && loopback(u.Hostname()):
		accounts = baseURL // as in Codex: a backend on this machine is all there is
	}
	revoke := defaultRevokeURL
	if u, err := url.Parse(o.RefreshURL); err == nil && o.RefreshURL != "" {
		u.Path, u.RawQuery = "/oauth/revoke", ""
		revoke = u.String()
	}
	return Overrides{
		AgentsURL:   cmp.Or(o.AgentsURL, o.AccountsURL, accounts),
		AccountsURL: cmp.Or(o.AccountsURL, accounts),
		JWKSURL:     cmp.Or(o.JWKSURL, baseURL),
		RefreshURL:  cmp.Or(o.RefreshURL, DefaultRefreshURL),
		RevokeURL:   cmp.Or(o.RevokeURL, revoke),
	}
}

// isBelow reports whether host is domain or a name below it.
func isBelow(host, domain string) bool {
	host = strings.ToLower(host)
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// keySetURL returns the URL of the key set below base, as Codex finds it.
func keySetURL(base string) string {
	if strings.Contains(base, "/backend-api") {
		return base + "/wham/agent-identities/jwks"
	}
	return base + "/agent-identities/jwks"
}
