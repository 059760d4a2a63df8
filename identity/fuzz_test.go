package identity

import (
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func FuzzParseKey(f *testing.F) {
	var v vectors
	identitytest.ReadVectors(f, "agent_identity.json", &v)
	for _, k := range v.Keys {
		f.Add(k.V1)
		f.Add(k.V2)
	}
	for _, bad := range v.BadPrivateKeys {
		f.Add(bad.Value)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		identitytest.NoLeak(t, err, s)
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

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{identitytest.RecordA, identitytest.RecordC, identitytest.JWT(identitytest.AgentClaims), `"` + identitytest.JWT(identitytest.AgentClaims) + `"`, "", "null", "eyJ.e30.x", "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecord(raw)
		if err != nil {
			if r != nil {
				t.Error("a record and an error")
			}
			identitytest.NoLeak(t, err, string(raw))
			return
		}
		if r.WorkspaceID == "" || r.AgentRuntimeID == "" || r.PrivateKey == "" || (r.Shape == ShapeB) != (r.JWT != "") {
			t.Errorf("incomplete: %+v", r)
		}
	})
}

func FuzzParseClaims(f *testing.F) {
	for _, claims := range []string{identitytest.Claims, identitytest.AgentClaims, "{}", "", "null", `{"exp":1e18}`, `{"https://api.openai.com/auth":null}`} {
		f.Add(claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		for _, jwt := range []string{claims, identitytest.JWT(claims)} {
			c, err := ParseClaims(jwt)
			identitytest.NoLeak(t, err, jwt)
			if exp, ok := TokenExpiry(jwt); err == nil && (ok != !c.Expiry.IsZero() || !exp.Equal(c.Expiry)) {
				t.Errorf("expiry %v and %v", exp, c.Expiry)
			}
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
