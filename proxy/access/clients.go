// Package access decides who may use the proxy.
//
//	clients    the decision                                        clients.go
//	admission  its grounds, which are checked again later           admission.go
//	tokens     the tokens file and its bcrypt hashes                tokens.go, tokenfile.go, bcryptchecks.go
//	users      whose process is at the other end of a connection    users.go, peeruid_*.go
//	labels     session labels and patterns of them                  labels.go
//	label book which client uses which labels                       labelbook.go
package access

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Clients are those who may use the proxy.
type Clients struct {
	config Config             // without its Token
	token  *localguard.Digest // of it, nil for none
	log    zerolog.Logger
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
	// Issued are the tokens that let a client in whatever is asked for besides, with
	// the label that each is for. nil: none do.
	Issued *issued.Tokens
	// IssuedOnly has nothing but Issued let a client in.
	IssuedOnly bool
}

// New returns the clients that config admits. It logs changes of the tokens file.
func New(config Config, log zerolog.Logger) *Clients {
	c := &Clients{config: config, log: log}
	if config.Token != "" {
		digest := localguard.DigestOf(config.Token)
		c.token, c.config.Token = &digest, ""
	}
	return c
}

// Admit decides whether the client that sent r may use the proxy. Its session label is the
// user name in its proxy URL, unless the configuration has one for all.
func (c *Clients) Admit(r *http.Request) (*Admission, *refuse.Refusal) {
	if len(r.Header["Proxy-Authorization"]) > 1 {
		return nil, refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
			"Proxy-Authorization came more than once, so it is not clear who asks; send it once")
	}
	user, token, shown := proxyCredentials(r.Header)
	a := &Admission{Label: user, user: user, digest: localguard.DigestOf(token), peer: peerOf(r.Context())}
	wrong := c.admitByIssued(a, token)
	switch {
	case a.issued != nil:
	case c.config.IssuedOnly:
		return nil, refuseIssued(r, wrong)
	case c.config.Tokens != nil:
		if refused := c.admitByFile(r, a, token); refused != nil {
			if wrong != nil {
				refused = refuseIssued(r, wrong)
			}
			return nil, refused
		}
	case c.token != nil:
		if !a.digest.Equal(*c.token) {
			return nil, refuseIssued(r, wrong)
		}
	case wrong != nil: // whoever shows it is not to go on as somebody else
		return nil, refuseIssued(r, wrong)
	case c.config.Users != nil:
		if err := a.peer.check(c.config.Users); err != nil {
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
	if c.config.Label != "" {
		a.Label = c.config.Label
	}
	a.chosen = c.config.Label == "" && c.config.Tokens == nil && a.issued == nil
	return a, nil
}

// admitByIssued lets a client in that shows a token which was issued for it. It
// returns what is wrong with a token that was issued here and is good no more, nil if
// it was not.
func (c *Clients) admitByIssued(a *Admission, token string) (wrong error) {
	if c.config.Issued == nil || !issued.Looks(token) {
		return nil
	}
	t, err := c.config.Issued.Check(token)
	switch {
	case errors.Is(err, issued.ErrForeign):
		return nil
	case err != nil:
		return err
	case a.user != "" && a.user != t.Label:
		return errOtherLabel
	}
	a.Label, a.issued = t.Label, t
	return nil
}

var errOtherLabel = errors.New("the token is for another session label than the user name in the proxy URL")

// refuseIssued is [refuseToken] for a token that may have been issued here. Whoever
// shows one knows that, and is told what is wrong with it.
func refuseIssued(r *http.Request, wrong error) *refuse.Refusal {
	if wrong == nil {
		return refuseToken(r)
	}
	remedy := "have another issued with agentproxy token issue"
	if errors.Is(wrong, issued.ErrUnread) {
		remedy = "agentproxy check says why, where the proxy runs"
	}
	return refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied", "%s; %s", wrong, remedy)
}

func (c *Clients) admitByFile(r *http.Request, a *Admission, token string) *refuse.Refusal {
	c.config.Tokens.refreshIfChanged(&c.log)
	err := c.config.Tokens.admit(r.Context(), a, token)
	if errors.Is(err, errBusy) {
		return refuse.New(http.StatusServiceUnavailable, "auth_busy", "http_request_denied",
			"%s at the moment; try again, or put the token itself in place of its hash into clients.tokens_file, which is checked at once", err)
	}
	if err != nil {
		return refuseToken(r)
	}
	return nil
}

// refuseToken returns the same refusal whatever is wrong with the token. Clients such as
// git show their token only after it, so that it is no failure if they have shown none.
func refuseToken(r *http.Request) *refuse.Refusal {
	refused := refuse.New(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
		"the proxy requires a token: put it as the password into the proxy URL, as in http://LABEL:TOKEN@HOST:PORT")
	refused.Challenge = r.Header["Proxy-Authorization"] == nil
	return refused
}

// proxyCredentials returns the user name and password of Proxy-Authorization: Basic (RFC
// 7617).
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
