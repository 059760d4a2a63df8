package identity

import (
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func TestParseClaims(t *testing.T) {
	for _, tt := range []struct {
		claims string
		want   Claims
	}{
		{`{}`, Claims{}},
		{identitytest.Claims, Claims{Account{UserID: "user-1", WorkspaceID: "ws-1", PlanType: "pro", Email: "ada@example.com", FedRAMP: true}, time.Unix(1900000000, 0).UTC()}},
		{`{"https://api.openai.com/auth":{"user_id":"u"},"https://api.openai.com/profile":{"email":"e"},"exp":1.5e9}`,
			Claims{Account{UserID: "u", Email: "e"}, time.Unix(1500000000, 0).UTC()}},
		{`{"https://api.openai.com/auth":{"chatgpt_user_id":"","user_id":"u"},"email":null,"exp":null}`, Claims{Account: Account{UserID: "u"}}},
	} {
		got, err := ParseClaims(identitytest.JWT(tt.claims))
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.claims, got, err)
		}
	}
	for _, tt := range []struct{ jwt, text string }{
		{"", "not a JWT"},
		{"a.b", "three parts"},
		{"a.b.", "three parts"},
		{"a.e30.c.d", "three parts"},
		{identitytest.JWT(`{"exp":1e999}`), "claims.exp: expected seconds since 1970"},
		{identitytest.JWT(`{"exp":-1}`), "exp: expected seconds"},
		{identitytest.JWT(`{"exp":"1"}`), "exp: expected seconds"},
		{identitytest.JWT(`{"https://api.openai.com/auth":[]}`), "https://api.openai.com/auth: expected object"},
	} {
		identitytest.WantError(t, tt.text, func() error { _, err := ParseClaims(tt.jwt); return err })
	}

	exp, ok := TokenExpiry(identitytest.JWT(`{"exp":1900000000}`))
	if !ok || exp.Unix() != 1900000000 {
		t.Errorf("expiry %v, %v", exp, ok)
	}
	for _, token := range []string{"", "opaque", identitytest.JWT(`{}`), identitytest.JWT(`{"exp":"soon"}`)} {
		if exp, ok := TokenExpiry(token); ok {
			t.Errorf("%q expires at %v", token, exp)
		}
	}
}
