package identity

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Claims are the claims of an id token about the person it was issued to. Those that it
// does not hold are empty.
type Claims struct {
	Account
	Expiry time.Time
}

// ParseClaims returns the claims of an id token. It does not verify the signature: the
// token comes from a file that only its owner can write, and nothing is granted because
// of it.
func ParseClaims(jwt string) (Claims, error) {
	payload, err := jwtPayload(jwt)
	if err != nil {
		return Claims{}, err
	}
	var d strictjson.Decoder
	o := d.Document("claims", payload)
	auth := o.Object("https://api.openai.com/auth")
	c := Claims{Expiry: o.Seconds("exp"), Account: Account{
		UserID:      auth.Text("chatgpt_user_id"),
		WorkspaceID: auth.Text("chatgpt_account_id"),
		PlanType:    auth.Text("chatgpt_plan_type"),
		FedRAMP:     auth.Bool("chatgpt_account_is_fedramp"),
		Email:       o.Text("email"),
	}}
	if c.UserID == "" {
		c.UserID = auth.Text("user_id")
	}
	if c.Email == "" {
		c.Email = o.Object("https://api.openai.com/profile").Text("email")
	}
	return c, d.Err
}

// TokenExpiry returns when an access token expires, by its claim exp. It returns false
// for a token without one.
func TokenExpiry(jwt string) (time.Time, bool) {
	_, expiry, ok := TokenTimes(jwt)
	return expiry, ok
}

// TokenTimes returns when an access token was issued, zero if it does not say, and when
// it expires. It returns false for a token without an expiry.
func TokenTimes(jwt string) (issued, expiry time.Time, ok bool) {
	payload, err := jwtPayload(jwt)
	if err != nil {
		return time.Time{}, time.Time{}, false
	}
	var d strictjson.Decoder
	o := d.Document("claims", payload)
	expiry = o.Seconds("exp")
	if d.Err != nil || expiry.IsZero() {
		return time.Time{}, time.Time{}, false
	}
	return o.Seconds("iat"), expiry, true
}

// jwtPayload returns the claims of a JWT in compact form (RFC 7519, section 3.1) as JSON.
func jwtPayload(jwt string) ([]byte, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return nil, errors.New("not a JWT: expected three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errors.New("not a JWT: the claims are not base64url")
	}
	return payload, nil
}
