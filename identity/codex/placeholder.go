package codex

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// placeholderYears is how long a placeholder lasts. No client asks for a new one before.
const placeholderYears = 10

// Placeholder returns an auth.json for a client behind the proxy. Codex takes it for a
// log-in of acct, which must name a workspace. No server accepts anything that it
// holds.
func Placeholder(acct identity.Account, now time.Time) ([]byte, error) {
	if acct.WorkspaceID == "" {
		return nil, errors.New("placeholder: the account names no workspace")
	}
	auth := map[string]any{
		"chatgpt_account_id":         acct.WorkspaceID,
		"chatgpt_account_is_fedramp": acct.FedRAMP,
	}
	if acct.UserID != "" {
		auth["chatgpt_user_id"] = acct.UserID
		auth["user_id"] = acct.UserID
	}
	if acct.PlanType != "" {
		auth["chatgpt_plan_type"] = acct.PlanType
	}
	claims := map[string]any{
		"iat":                         now.Unix(),
		"exp":                         now.AddDate(placeholderYears, 0, 0).Unix(),
		"https://api.openai.com/auth": auth,
	}
	if acct.Email != "" {
		claims["email"] = acct.Email
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "." + identity.PlaceholderMark

	type tokens struct {
		IDToken      string `json:"id_token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		AccountID    string `json:"account_id"`
	}
	file, err := json.MarshalIndent(struct {
		AuthMode    Mode    `json:"auth_mode"`
		APIKey      *string `json:"OPENAI_API_KEY"`
		Tokens      tokens  `json:"tokens"`
		LastRefresh string  `json:"last_refresh"`
	}{
		ModeChatGPT, nil,
		tokens{token, token, identity.PlaceholderMark, acct.WorkspaceID},
		now.UTC().Format(time.RFC3339),
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(file, '\n'), nil
}

// isPlaceholder reports whether a is what [Placeholder] returns, and no log-in.
func (a *Auth) isPlaceholder() bool {
	return a != nil && a.Tokens != nil && identity.IsPlaceholder(a.Tokens.AccessToken.Reveal()) &&
		!a.HasAPIKey && a.Record == nil && a.RecordErr == nil
}
