package agent

import (
	"cmp"
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// remember notes that p was answered for an agent. The runtime id "" stands for agents that
// are to be registered.
func (a *Agent) remember(runtimeID string, p identity.Protocol) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[runtimeID], a.answered[""] = p, p
}

// agentProtocols returns the protocols to register an agent by, the likeliest first.
func (a *Agent) agentProtocols() []identity.Protocol {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Protocol.Order(a.answered[""])
}

// taskProtocols returns the protocols to register a task of id by, the likeliest first: the
// one that was answered last, else that of the agent itself.
func (a *Agent) taskProtocols(id *identity.Identity) []identity.Protocol {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Protocol.Order(cmp.Or(a.answered[id.AgentRuntimeID], id.Protocol))
}

// AssertsAll reports whether all signed requests carry an assertion, and not inference
// alone. That is so for an identity of the first generation, and for a log-in without
// tokens, of which the placeholder that a run lays into the Codex home is one. It
// registers nothing.
func (a *Agent) AssertsAll(ctx context.Context) bool {
	auth, account, err := a.login(ctx)
	if err != nil || !hasTokens(auth) || identity.IsPlaceholder(auth.Tokens.AccessToken.Reveal()) {
		return true
	}
	id, err := a.find(ctx, auth, account)
	if err != nil {
		return a.config.Protocol == identity.ProtocolBackend
	}
	return id.Protocol == identity.ProtocolBackend
}
