package access

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/localguard"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Clients says who may use the proxy.
type Clients struct {
	// tokens, or else token, is what clients must show.
	tokens *TokenFile
	token  *localguard.Digest
	// users are those who need not show anything, and nobody else may; nil lets
	// everyone in.
	users Users
	label string // of all, "" for the one that each shows
	log   zerolog.Logger
}

// Config says who may use the proxy.
type Config struct {
	// Token is the password that clients must show. "" asks for none, which is for
	// listeners that nobody else can reach.
	Token string
	// Tokens, if not nil, has the tokens that clients must show in place of Token.
	Tokens *TokenFile
	// Label is the session label of all clients, whatever user name they show. ""
	// leaves it to them, or to Tokens.
	Label string
	// Users are the users whose processes are served where no token is asked for.
	// nil serves all. It needs Linux: elsewhere none is served unless it is nil.
	Users Users
}

// New returns the clients that config lets in. Changes of the tokens file
// are told to log.
func New(config Config, log zerolog.Logger) *Clients {
	c := &Clients{tokens: config.Tokens, users: config.Users, label: config.Label, log: log}
	if config.Token != "" {
		digest := localguard.DigestOf(config.Token)
		c.token = &digest
	}
	return c
}

// Admit lets the client in that sent r. Its session label is the user name in
// its proxy URL.
func (c *Clients) Admit(r *http.Request) (*Admission, *refuse.Refusal) {
	if len(r.Header["Proxy-Authorization"]) > 1 {
		return nil, refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
			"Proxy-Authorization came more than once, so it is not clear who asks; send it once")
	}
	user, token, shown := proxyCredentials(r.Header)
	a := &Admission{Label: user, user: user, digest: localguard.DigestOf(token), peer: peerOf(r.Context())}
	switch {
	case c.tokens != nil:
		if refused := c.admitByFile(r, a, token); refused != nil {
			return nil, refused
		}
	case c.token != nil:
		if !a.digest.Equal(*c.token) {
			return nil, refuseToken(r)
		}
	case c.users != nil:
		if err := a.peer.check(c.users); err != nil {
			remedy := "set clients.token"
			if _, known := errors.AsType[*ForeignUserError](err); known {
				remedy = "list the user in clients.allow_uids, or set clients.token"
			}
			return nil, refuse.New(http.StatusForbidden, "foreign_user", "http_request_denied",
				"%s, and without a token the proxy serves its own user only; %s", err, remedy)
		}
	}
	if err := CheckLabel(a.Label); shown && err != "" {
		return nil, refuse.New(http.StatusProxyAuthRequired, "bad_label", "http_request_denied", "the user name in the proxy URL %s", err)
	}
	if c.label != "" {
		a.Label = c.label
	}
	return a, nil
}

func (c *Clients) admitByFile(r *http.Request, a *Admission, token string) *refuse.Refusal {
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
