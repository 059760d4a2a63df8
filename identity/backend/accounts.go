package backend

import (
	"context"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

const (
	// accountsTaskTimeout bounds the registration of a task, as in Codex.
	accountsTaskTimeout = 30 * time.Second
	// accountsTries is how often a registration is tried in all, as in Codex.
	accountsTries = 3
)

// RegisterAgentByToken registers the agent with this key by [identity.ProtocolAccounts],
// for the account of token. It returns the agent's runtime id.
func (b *Client) RegisterAgentByToken(ctx context.Context, key *identity.Key, token identity.AccessToken) (runtimeID string, err error) {
	header := http.Header{"Authorization": {"Bearer " + token.Value.Reveal()}}
	if token.Account.FedRAMP {
		header["X-Openai-Fedramp"] = []string{"true"}
	}
	return b.registerAgent(ctx, call{url: b.accounts.RegisterAgent, header: header, tries: accountsTries, body: struct {
		ABOM           ABOM     `json:"abom"`
		AgentPublicKey string   `json:"agent_public_key"`
		Capabilities   []string `json:"capabilities"`
		TTL            *int     `json:"ttl"` // null: as long as the service likes
	}{b.config.ABOM, key.PublicKey(), []string{"responsesapi"}, nil}})
}

// RegisterTaskByKey registers a task of id by [identity.ProtocolAccounts]. It sends no
// credential but the signature of the identity's key.
func (b *Client) RegisterTaskByKey(ctx context.Context, id *identity.Identity) (identity.Task, error) {
	return b.registerTask(ctx, id, call{
		url: b.accounts.RegisterTask(id.AgentRuntimeID), timeout: accountsTaskTimeout, tries: accountsTries,
	})
}
