package runner

import (
	"sync/atomic"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/proxy"
)

// loginHost is where Codex logs in and out. With a placeholder it has nothing else to ask
// there.
const loginHost = "auth.openai.com:443"

// observer remembers the refusals, and whether COMMAND may have logged in or out.
type observer struct {
	*admin.Refusals
	login atomic.Bool
}

// Exchange implements [app.Observer].
func (o *observer) Exchange(outcome proxy.Outcome) {
	if outcome.Host == loginHost {
		o.login.Store(true)
	}
	o.Refusals.Exchange(outcome)
}
