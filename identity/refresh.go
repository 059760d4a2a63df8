package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// refreshed is the answer to a refresh: what it holds replaces what is stored.
type refreshed struct {
	IDToken, AccessToken, RefreshToken Secret
}

// refresh exchanges a refresh token, which is spent by it. A refusal is an
// [*AnswerError], and an answer that holds no tokens an [*unusableError].
func (b *Backend) refresh(ctx context.Context, token Secret) (_ refreshed, err error) {
	defer b.observe(OperationRefresh, &err)
	const doing = "refresh the access token"
	_, raw, err := b.do(ctx, call{doing: doing, method: http.MethodPost, url: b.config.Overrides.RefreshURL, body: map[string]string{
		"client_id":     oauthClientID,
		"grant_type":    "refresh_token",
		"refresh_token": token.Reveal(),
	}})
	if err != nil {
		return refreshed{}, err
	}
	r, err := parseRefreshAnswer(raw)
	if err != nil {
		return refreshed{}, newUnusableError(doing, err, raw)
	}
	return r, nil
}

func parseRefreshAnswer(raw []byte) (refreshed, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	r := refreshed{
		IDToken:      Secret(o.Text("id_token")),
		AccessToken:  Secret(o.Text("access_token")),
		RefreshToken: Secret(o.Text("refresh_token")),
	}
	switch {
	case d.Err != nil:
		return refreshed{}, d.Err
	case r.AccessToken == "":
		return refreshed{}, errors.New("the answer holds no access_token")
	case !headerSafe(r.AccessToken.Reveal()):
		return refreshed{}, errors.New("the answer's access_token cannot be sent in a header")
	}
	if r.IDToken != "" {
		if _, err := parseClaims(r.IDToken.Reveal()); err != nil {
			return refreshed{}, fmt.Errorf("the answer's id_token: %w", err)
		}
	}
	return r, nil
}

// revokeTimeout bounds the revocation of a token, as in Codex.
const revokeTimeout = 10 * time.Second

// Revoke has the accounts service forget a refresh token, and the access tokens
// that came of it.
func (b *Backend) Revoke(ctx context.Context, refresh Secret) (err error) {
	defer b.observe(OperationRevoke, &err)
	_, _, err = b.do(ctx, call{doing: "revoke the refresh token", method: http.MethodPost, url: b.config.Overrides.RevokeURL, timeout: revokeTimeout, body: map[string]string{
		"token":           refresh.Reveal(),
		"token_type_hint": "refresh_token",
		"client_id":       oauthClientID,
	}})
	return err
}
