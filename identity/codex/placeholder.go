package codex

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/agentproxy/agentproxy/identity"
)

// placeholderYears is how long a placeholder lasts. No client asks for a new one before.
const placeholderYears = 10

// Placeholder returns an auth.json for a client behind the proxy. Codex takes it for a
// log-in of acct, which must name a workspace. No server accepts anything that it
// holds.
func Placeholder(acct identity.Account, now time.Time) ([]byte, error) {
	token, _, err := PlaceholderToken(acct, now)
	if err != nil {
		return nil, err
	}
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

// PlaceholderToken returns a JWT that clients take for the access token of acct, which must
// name a workspace, and when it expires. No server accepts it. Its payload is the same in
// both alphabets of base64, for some clients decode it with the wrong one.
func PlaceholderToken(acct identity.Account, now time.Time) (token string, expiry time.Time, err error) {
	if acct.WorkspaceID == "" {
		return "", expiry, errors.New("placeholder: the account names no workspace")
	}
	expiry = now.AddDate(placeholderYears, 0, 0)
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
		"exp":                         expiry.Unix(),
		"https://api.openai.com/auth": auth,
	}
	if acct.Email != "" {
		claims["email"] = acct.Email
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", expiry, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	header := encode([]byte(`{"alg":"none","typ":"JWT"}`))
	return header + "." + encode(escapeJSON(payload)) + "." + identity.PlaceholderMark, expiry, nil
}

// escapeJSON escapes in JSON what is not ASCII, and the characters of ASCII that may make
// base64 differ between its alphabets. They stand in strings only.
func escapeJSON(doc []byte) []byte {
	var b []byte
	for _, r := range string(doc) {
		switch {
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		case r == '>' || r == '?' || r >= '~':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, byte(r))
		}
	}
	return b
}

// IsPlaceholder reports whether raw is an auth.json that holds a [Placeholder] and nothing
// else.
func IsPlaceholder(raw []byte) bool {
	auth, _ := ParseAuth(raw)
	return auth.isPlaceholder()
}

// isPlaceholder is [IsPlaceholder] for an auth.json that was parsed, nil if it could not be.
func (a *Auth) isPlaceholder() bool {
	return a != nil && a.Tokens != nil && identity.IsPlaceholder(a.Tokens.AccessToken.Reveal()) &&
		!a.HasAPIKey && a.PersonalAccessToken == "" && a.Record == nil && a.RecordErr == nil
}
