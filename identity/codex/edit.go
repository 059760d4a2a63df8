package codex

import (
	"bytes"
	"fmt"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// WithTokens returns the auth.json raw with the tokens of r in place of its own, and with
// lastRefresh. Nothing else changes.
func WithTokens(raw []byte, r identity.TokenSet, lastRefresh string) ([]byte, error) {
	o, err := strictjson.ParseEdit(raw)
	if err != nil {
		return nil, err
	}
	tokens, err := strictjson.ParseEdit(o.Get("tokens"))
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	for _, t := range []struct {
		name  string
		value identity.Secret
	}{{"id_token", r.IDToken}, {"access_token", r.AccessToken}, {"refresh_token", r.RefreshToken}} {
		if t.value != "" {
			tokens.SetText(t.name, t.value.Reveal())
		}
	}
	o.Set("tokens", tokens.Compact())
	o.SetText("last_refresh", lastRefresh)
	return o.Indented()
}

// withRecord returns the auth.json raw with record, which is JSON, as its agent_identity.
func withRecord(raw, record []byte) ([]byte, error) {
	o, err := strictjson.ParseEdit(raw)
	if err != nil {
		return nil, err
	}
	o.Set("agent_identity", bytes.TrimSpace(record))
	return o.Indented()
}
