package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Refresh exchanges a refresh token for other tokens. The refresh token is spent then. A
// refusal is an [*AnswerError], and an answer without tokens an [*unusableError]. If ctx
// ends before the request is sent, the error is that of ctx; later it ends nothing, for the
// tokens of the answer would be lost.
func (b *Client) Refresh(ctx context.Context, token identity.Secret) (_ identity.TokenSet, err error) {
	defer b.observe(OperationRefresh, &err)
	const doing = "refresh the access token"
	unsent, release := endingUnsent(ctx)
	defer release()
	_, raw, err := b.do(unsent, call{doing: doing, method: http.MethodPost, url: b.config.Overrides.RefreshURL, body: map[string]string{
		"client_id":     oauthClientID,
		"grant_type":    "refresh_token",
		"refresh_token": token.Reveal(),
	}})
	if err != nil && unsent.Err() != nil {
		return identity.TokenSet{}, fmt.Errorf("%s: %w", doing, context.Cause(unsent))
	}
	if err != nil {
		return identity.TokenSet{}, err
	}
	r, err := parseRefreshAnswer(raw)
	if err != nil {
		return identity.TokenSet{}, newUnusableError(doing, err, raw)
	}
	return r, nil
}

func parseRefreshAnswer(raw []byte) (identity.TokenSet, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	r := identity.TokenSet{
		IDToken:      identity.Secret(o.Text("id_token")),
		AccessToken:  identity.Secret(o.Text("access_token")),
		RefreshToken: identity.Secret(o.Text("refresh_token")),
	}
	switch {
	case d.Err != nil:
		return identity.TokenSet{}, d.Err
	case r.AccessToken == "":
		return identity.TokenSet{}, errors.New("the answer holds no access_token")
	case !identity.HeaderSafe(r.AccessToken.Reveal()):
		return identity.TokenSet{}, errors.New("the answer's access_token cannot be sent in a header")
	}
	if r.IDToken != "" {
		if _, err := identity.ParseClaims(r.IDToken.Reveal()); err != nil {
			return identity.TokenSet{}, fmt.Errorf("the answer's id_token: %w", err)
		}
	}
	return r, nil
}

// revokeTimeout bounds the revocation of a token, as in Codex.
const revokeTimeout = 10 * time.Second

// Revoke revokes a refresh token, and with it the access tokens that came of it.
func (b *Client) Revoke(ctx context.Context, refresh identity.Secret) (err error) {
	defer b.observe(OperationRevoke, &err)
	_, _, err = b.do(ctx, call{doing: "revoke the refresh token", method: http.MethodPost, url: b.config.Overrides.RevokeURL, timeout: revokeTimeout, body: map[string]string{
		"token":           refresh.Reveal(),
		"token_type_hint": "refresh_token",
		"client_id":       oauthClientID,
	}})
	return err
}
