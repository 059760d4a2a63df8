package backend

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/agentproxy/agentproxy/identity"
)

// Biscuit returns the human biscuit that vouches for a POST to url. It is asked for with
// token, a Bearer token.
func (b *Client) Biscuit(ctx context.Context, token identity.Secret, url string) (_ identity.Secret, err error) {
	defer b.observe(OperationBiscuit, &err)
	const doing = "ask for the human biscuit"
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, by its documentation
	answer, _, err := b.do(ctx, call{doing: doing, method: http.MethodGet, url: b.endpoints.Biscuit, header: http.Header{
		"Authorization":     {"Bearer " + token.Reveal()},
		"X-Request-Id":      {"codex-agent-identity-" + base64.RawURLEncoding.EncodeToString(id[:])},
		"X-Original-Method": {http.MethodPost},
		"X-Original-Url":    {url},
	}})
	if err != nil {
		return "", err
	}
	biscuit := answer.Get("X-Openai-Authorization")
	if biscuit == "" {
		return "", fmt.Errorf("%s: the answer lacks the header x-openai-authorization", doing)
	}
	return identity.Secret(biscuit), nil
}

// RegisterAgent registers the agent with this key by [identity.ProtocolBackend], with a
// biscuit for [Endpoints.RegisterAgent]. It returns the agent's runtime id.
func (b *Client) RegisterAgent(ctx context.Context, key *identity.Key, biscuit identity.Secret) (runtimeID string, err error) {
	return b.registerAgent(ctx, call{url: b.endpoints.RegisterAgent, header: biscuitHeader(biscuit), body: struct {
		ABOM           ABOM     `json:"abom"`
		AgentPublicKey string   `json:"agent_public_key"`
		Capabilities   []string `json:"capabilities"`
	}{b.config.ABOM, key.PublicKey(), []string{}}})
}

// RegisterTask registers a task of id by [identity.ProtocolBackend], with a biscuit for
// [Endpoints.RegisterTask], or "" for an identity that needs none.
func (b *Client) RegisterTask(ctx context.Context, id *identity.Identity, biscuit identity.Secret) (identity.Task, error) {
	return b.registerTask(ctx, id, call{url: b.endpoints.RegisterTask(id.AgentRuntimeID), header: biscuitHeader(biscuit)})
}

func biscuitHeader(biscuit identity.Secret) http.Header {
	if biscuit == "" {
		return nil
	}
	return http.Header{"X-Openai-Authorization": {biscuit.Reveal()}}
}
