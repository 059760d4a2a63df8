package access

import (
	"net/http"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/internal/localguard"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Admission is on what grounds a client was let in. It is kept with a tunnel to
// an intercepted host, to look again when the grounds have changed, and holds no
// token.
type Admission struct {
	Label  string            // of the session
	user   string            // that the client gave
	digest localguard.Digest // of the token that it showed
	hash   []byte            // the bcrypt hash that the token fits, nil if none was needed
	peer   *Peer             // who has the connection
}

// grounds are what clients are admitted by. They differ whenever what is
// configured has been read anew.
type grounds struct {
	clients *Clients
	tokens  *tokenTable
}

func (c *Clients) grounds() grounds {
	if c.tokens == nil {
		return grounds{clients: c}
	}
	return grounds{c, c.tokens.table.Load()}
}

// admits reports whether a client that was admitted before would be again, and
// with the same label.
func (g grounds) admits(a *Admission) bool {
	switch c := g.clients; {
	case g.tokens != nil:
		label, ok := g.tokens.findAgain(a)
		return ok && label == a.Label
	case c.token != nil:
		return a.digest.Equal(*c.token)
	case c.users != nil:
		return a.peer.check(c.users) == nil
	}
	return true
}

// KeptAdmission is an intercepted connection's admission, and the grounds that it was
// last found good by.
type KeptAdmission struct {
	*Admission
	last atomic.Pointer[grounds]
}

// Check refuses a request of a client that was let in once, and would not be any
// more.
func (a *KeptAdmission) Check(c *Clients) *refuse.Refusal {
	if c.tokens != nil {
		c.tokens.look(&c.log)
	}
	now := c.grounds()
	if last := a.last.Load(); last != nil && *last == now {
		return nil
	}
	if !now.admits(a.Admission) {
		return refuse.New(http.StatusForbidden, "no_longer_admitted", "http_request_denied",
			"the client was let in when it opened this connection, and would not be now; connect anew, with a token that is accepted")
	}
	a.last.Store(new(now)) // a copy, so that nothing is allocated before
	return nil
}
