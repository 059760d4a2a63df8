package access

import (
	"net/http"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Admission holds the grounds on which a client was admitted, but not its token. It is kept
// with a tunnel to an intercepted host, to decide again when the grounds have changed.
type Admission struct {
	Label  string            // of the session
	user   string            // that the client gave
	digest localguard.Digest // of the token that it showed
	hash   []byte            // the bcrypt hash that the token fits, nil if none was needed
	peer   *Peer             // who has the connection
	issued *issued.Token     // that it was let in by, nil if by something else
	chosen bool              // the client itself has chosen the label
}

// grounds are what clients are admitted by. Two differ if the configuration or the tokens
// file was read between them.
type grounds struct {
	clients *Clients
	tokens  *tokenTable
}

func (c *Clients) grounds() grounds {
	if c.config.Tokens == nil {
		return grounds{clients: c}
	}
	return grounds{c, c.config.Tokens.table.Load()}
}

// admits reports whether a client that was admitted before would be admitted again, with
// the same label.
func (g grounds) admits(a *Admission) bool {
	switch c := g.clients; {
	case a.issued != nil:
		return c.config.Issued != nil && c.config.Issued.Good(a.issued) == nil
	case c.config.IssuedOnly:
		return false
	case g.tokens != nil:
		label, ok := g.tokens.findAgain(a)
		return ok && label == a.Label
	case c.token != nil:
		return a.digest.Equal(*c.token)
	case c.config.Users != nil:
		return a.peer.check(c.config.Users) == nil
	}
	return true
}

// Refresh reads the tokens file, and what issued tokens go by, if they have changed, but
// not often.
func (c *Clients) Refresh() {
	if c.config.Tokens != nil {
		c.config.Tokens.refreshIfChanged(&c.log)
	}
	if c.config.Issued != nil {
		c.config.Issued.Refresh()
	}
}

// KeptAdmission is the admission of a connection that stays open.
type KeptAdmission struct {
	*Admission
	last atomic.Pointer[grounds] // by which it was found good
}

// Check refuses a request of a client that would not be admitted any more.
func (a *KeptAdmission) Check(c *Clients) *refuse.Refusal {
	c.Refresh()
	now := c.grounds()
	// Time alone may end a token that was issued.
	if last := a.last.Load(); last != nil && *last == now && a.issued == nil {
		return nil
	}
	if !now.admits(a.Admission) {
		return refuse.New(http.StatusForbidden, "no_longer_admitted", "http_request_denied",
			"the client was admitted when it opened this connection, but is not admitted any more; connect again, with a token that is accepted")
	}
	a.last.Store(new(now)) // a copy, so that nothing is allocated before
	return nil
}
