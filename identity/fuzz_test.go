package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// noLeak checks that an error is one short line that does not repeat what looks
// like a secret.
func noLeak(t *testing.T, err error, input string) {
	if err == nil {
		return
	}
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 400 {
		t.Errorf("error is not one short line: %q", err)
	}
	if len(input) >= 100 && strings.Contains(err.Error(), input) {
		t.Errorf("error repeats its input: %q", err)
	}
}

func FuzzParseKey(f *testing.F) {
	var v vectors
	readVectors(f, "agent_identity.json", &v)
	for _, k := range v.Keys {
		f.Add(k.V1)
		f.Add(k.V2)
	}
	for _, bad := range v.BadPrivateKeys {
		f.Add(bad.Value)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		noLeak(t, err, s)
		if err != nil {
			return
		}
		again, err := ParseKey(k.Encode().Reveal())
		if err != nil || again.PublicKey() != k.PublicKey() {
			t.Errorf("does not survive encoding: %v", err)
		}
		if len(s) != 64 && len(s) != 112 {
			t.Errorf("%d characters were taken for a key", len(s))
		}
	})
}

func FuzzParseAuth(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", authJSON(), authJSON(`"agent_identity":` + shapeA), authJSON(`"agent_identity":` + shapeC),
		authJSON(`"agent_identity":"`+testJWT(jwtClaims)+`"`, `"last_refresh":"2026-04-15T00:00:00Z"`), authJSON(`"OPENAI_API_KEY":"k"`),
		`{"auth_mode":"agentIdentity"}`, "\xef\xbb\xbf{}", `{"tokens":{"account_id":1e999}}`, `{"a":1,"a":2}`, "{\n\"tokens\":",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ParseAuth(raw)
		noLeak(t, err, string(raw))
		if err != nil {
			return
		}
		if !json.Valid(raw) && !strings.HasPrefix(string(raw), "\xef\xbb\xbf") {
			t.Error("not JSON, and taken")
		}
		noLeak(t, a.RecordErr, string(raw))
		acct, err := a.Account("")
		if (err == nil) != (acct.WorkspaceID != "") {
			t.Errorf("account %+v, %v", acct, err)
		}
		if token, _, err := a.Bearer(""); (err == nil) != (token != "") || !headerSafe(token.Reveal()) {
			t.Errorf("bearer: %v", err)
		}
		if _, _, err := a.Bearer("another workspace"); err == nil && acct.WorkspaceID != "another workspace" {
			t.Error("the token was given out for another workspace")
		}
		if a.Record != nil && err == nil {
			_, _ = a.Record.Bind(acct)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{shapeA, shapeC, testJWT(jwtClaims), `"` + testJWT(jwtClaims) + `"`, "", "null", "eyJ.e30.x", "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecord(raw)
		if err != nil {
			if r != nil {
				t.Error("a record and an error")
			}
			noLeak(t, err, string(raw))
			return
		}
		if r.WorkspaceID == "" || r.AgentRuntimeID == "" || r.PrivateKey == "" || (r.Shape == ShapeB) != (r.JWT != "") {
			t.Errorf("incomplete: %+v", r)
		}
	})
}

func FuzzParseClaims(f *testing.F) {
	for _, claims := range []string{testClaims, jwtClaims, "{}", "", "null", `{"exp":1e18}`, `{"https://api.openai.com/auth":null}`} {
		f.Add(claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		for _, jwt := range []string{claims, testJWT(claims)} {
			c, err := ParseClaims(jwt)
			noLeak(t, err, jwt)
			if exp, ok := TokenExpiry(jwt); err == nil && (ok != !c.Expiry.IsZero() || !exp.Equal(c.Expiry)) {
				t.Errorf("expiry %v and %v", exp, c.Expiry)
			}
		}
	})
}

func FuzzParseAssertion(f *testing.F) {
	var v vectors
	readVectors(f, "agent_identity.json", &v)
	for _, a := range v.Keys[0].Assertions {
		f.Add(a.Header)
	}
	f.Add("AgentAssertion e30")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := ParseAssertion(header)
		noLeak(t, err, header)
		if err != nil {
			return
		}
		again, err := ParseAssertion(a.Header())
		if err != nil || again != a {
			t.Errorf("%+v came back as %+v, %v", a, again, err)
		}
		if !json.Valid(a.Envelope()) || !utf8.Valid(a.Envelope()) {
			t.Errorf("envelope is not JSON: %q", a.Envelope())
		}
	})
}

func FuzzIsBootstrapPath(f *testing.F) {
	for _, path := range []string{
		"/v1/agent/register", "/backend-api/authenticate_app_v2", "/v1/agent/x/task/register", "/v1/agent/%72egister", "//", "/..", "%", `\`, "/a;b",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		kind := IsBootstrapPath(path)
		// A slash more, at the end or doubled, changes nothing.
		if got := IsBootstrapPath(path + "/"); kind != BootstrapNone && got == BootstrapNone {
			t.Errorf("%q is %v, with a slash %v", path, kind, got)
		}
		// However it begins, and however a letter is spelled, it does not get by.
		for _, end := range []string{"/v1/agent/register", "/v1/agent/%72egister", "/authenticate_app_v2", "/authenticate_app_v2/."} {
			if !strings.ContainsAny(path, "?#") && IsBootstrapPath(path+end) == BootstrapNone {
				t.Errorf("%q is %v", path+end, BootstrapNone)
			}
		}
	})
}
