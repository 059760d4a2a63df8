package identity

import "context"

// answeredBy returns the protocol that was answered last for an agent, "" if none
// was. The runtime id "" stands for agents that are to be registered.
func (a *Agent) answeredBy(runtimeID string) Protocol {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answered[runtimeID]
}

// remember notes that a protocol was answered for an agent.
func (a *Agent) remember(runtimeID string, p Protocol) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[runtimeID], a.answered[""] = p, p
}

// rememberTask notes that a task of id was registered by p. Where that is another
// protocol than the record says, and the record is agentproxy's own, it says so from
// then on.
func (a *Agent) rememberTask(ctx context.Context, id *Identity, p Protocol) {
	if a.config.Protocol != ProtocolAuto {
		return
	}
	a.remember(id.AgentRuntimeID, p)
	if p == id.Protocol {
		return
	}
	a.forget()
	if a.config.Store == nil || a.given() {
		return
	}
	unlock, err := a.lockState(ctx)
	if err != nil {
		return // the next process finds out for itself
	}
	defer unlock()
	a.forget() // another process may have been here first
	record, err := a.load()
	if err != nil || record.AgentRuntimeID != id.AgentRuntimeID || record.JWT != "" {
		return
	}
	changed := *record
	changed.Protocol = p
	a.tokens.tell("the protocol of the agent identity is remembered in memory only", a.config.Store.Save(&changed))
}

// asAnswered returns id as it is by the protocol that was answered for it.
func (a *Agent) asAnswered(id *Identity) *Identity {
	p := a.answeredBy(id.AgentRuntimeID)
	if a.config.Protocol != ProtocolAuto || p == "" || p == id.Protocol {
		return id
	}
	changed := *id
	changed.Protocol = p
	return &changed
}

// AssertsAll reports whether every request that is signed carries an assertion, and
// not inference alone: so it is with an identity of the first generation, and where
// the log-in has no tokens. It registers nothing.
func (a *Agent) AssertsAll(ctx context.Context) bool {
	auth, account, err := a.whom(ctx)
	if err != nil || !canVouch(auth) {
		return true
	}
	id, err := a.find(ctx, auth, account)
	if err != nil {
		return a.config.Protocol == ProtocolBackend
	}
	return id.Protocol == ProtocolBackend
}
