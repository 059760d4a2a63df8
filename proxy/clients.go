package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// clients says who may use the proxy.
type clients struct {
	// tokens, or else tokenHash, is what clients must show. Hashing makes the
	// comparison take the same time for every length of a guess.
	tokens    *TokenFile
	tokenHash *[sha256.Size]byte
	// users are those who need not show anything, and nobody else may; nil lets
	// everyone in.
	users Users
	label string // of all, "" for the one that each shows
	log   zerolog.Logger
}

func newClients(config Config) *clients {
	c := &clients{tokens: config.ClientTokens, users: config.ClientUsers, label: config.ClientLabel, log: config.Log}
	if config.ClientToken != "" {
		hash := sha256.Sum256([]byte(config.ClientToken))
		c.tokenHash = &hash
	}
	return c
}

// admit lets the client in that sent r. Its session label is the user name in
// its proxy URL.
func (c *clients) admit(r *http.Request) (*admission, *refuse.Refusal) {
	if len(r.Header["Proxy-Authorization"]) > 1 {
		return nil, refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
			"Proxy-Authorization came more than once, so it is not clear who asks; send it once")
	}
	user, token, shown := proxyCredentials(r.Header)
	a := &admission{label: user, user: user, digest: sha256.Sum256([]byte(token)), owner: ownerOf(r.Context())}
	switch {
	case c.tokens != nil:
		if refused := c.admitByFile(r, a, token); refused != nil {
			return nil, refused
		}
	case c.tokenHash != nil:
		if subtle.ConstantTimeCompare(a.digest[:], c.tokenHash[:]) != 1 {
			return nil, refuseToken(r)
		}
	case c.users != nil:
		if err := a.owner.check(c.users); err != nil {
			return nil, refuse.New(http.StatusForbidden, "foreign_user", "http_request_denied",
				"%s, and without a token the proxy serves its own user only; list the user in clients.allow_uids, or set clients.token", err)
		}
	}
	if err := checkLabel(a.label); shown && err != "" {
		return nil, refuse.New(http.StatusProxyAuthRequired, "bad_label", "http_request_denied", "the user name in the proxy URL %s", err)
	}
	if c.label != "" {
		a.label = c.label
	}
	return a, nil
}

func (c *clients) admitByFile(r *http.Request, a *admission, token string) *refuse.Refusal {
	c.tokens.look(&c.log)
	err := c.tokens.admit(r.Context(), a, token)
	if errors.Is(err, errBusy) {
		return refuse.New(http.StatusServiceUnavailable, "auth_busy", "http_request_denied",
			"%s at the moment; try again, or write the token into clients.tokens_file as it is, which takes no time to check", err)
	}
	if err != nil {
		return refuseToken(r)
	}
	return nil
}

// refuseToken is the same whatever is wrong with the token. Where none was shown it
// is how clients such as git learn that they are to show one, and nothing that
// anybody has to see to.
func refuseToken(r *http.Request) *refuse.Refusal {
	refused := refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
		"the proxy wants its token: put it as the password into the proxy URL, as in http://LABEL:TOKEN@HOST:PORT")
	refused.Challenge = r.Header["Proxy-Authorization"] == nil
	return refused
}

// proxyCredentials reads Proxy-Authorization: Basic (RFC 7617).
func proxyCredentials(h http.Header) (user, password string, ok bool) {
	values := h["Proxy-Authorization"]
	if len(values) != 1 {
		return "", "", false
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// maxLabel bounds a session label, in bytes. Labels are keys of files and logs.
const maxLabel = 128

// checkLabel says what is wrong with a session label.
func checkLabel(label string) string {
	if len(label) > maxLabel {
		return "is longer than 128 bytes; it is a short label for the session"
	}
	for i := range len(label) {
		if c := label[i]; c < 0x21 || c > 0x7e {
			return "has a character that is not printable ASCII; it is a short label for the session"
		}
	}
	return ""
}
