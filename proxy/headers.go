package proxy

import (
	"net/http"

	"github.com/agentproxy/agentproxy/signer"
)

// The headers that carry a credential or belong to one, in the canonical form
// of net/http. No client decides their value.
const (
	headerAuthorization = "Authorization"
	headerAccountID     = "Chatgpt-Account-Id"
	headerFedRAMP       = "X-Openai-Fedramp"
)

// authorize replaces the credentials in h by those of auth. The hop-by-hop
// headers must be gone from h before: a client that sends "Connection:
// Authorization" would otherwise have the proxy strip what it has set.
func authorize(h http.Header, auth *signer.Authorization) {
	if auth.Keep {
		dropPlaceholders(h)
		return
	}
	delete(h, headerAccountID)
	delete(h, headerFedRAMP)
	h[headerAuthorization] = []string{auth.Value.Reveal()}
	if auth.AccountID != "" {
		h[headerAccountID] = []string{auth.AccountID}
	}
	if auth.FedRAMP {
		h[headerFedRAMP] = []string{"true"}
	}
}

// dropPlaceholders removes what a client was given to hold in place of a
// credential. It means nothing to any server.
func dropPlaceholders(h http.Header) {
	for _, value := range h[headerAuthorization] {
		if signer.IsPlaceholder(value) {
			delete(h, headerAuthorization)
			return
		}
	}
}

// keepForwarded puts back what httputil.ReverseProxy drops on its own account:
// what a client says about itself is not for this proxy to edit.
func keepForwarded(out, in http.Header) {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := in[name]; ok {
			out[name] = values
		}
	}
}
