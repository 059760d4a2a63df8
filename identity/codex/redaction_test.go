package codex

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

// However a value that holds a secret is printed, logged or encoded, none of
// the secret shows.
func TestRedaction(t *testing.T) {
	key, err := identity.ParseKey(identitytest.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	auth := mustAuth(t, identitytest.AuthJSON(`"agent_identity":"`+identitytest.JWT(identitytest.AgentClaims)+`"`))
	record, err := identity.ParseRecord([]byte(identitytest.RecordC))
	if err != nil {
		t.Fatal(err)
	}
	id, err := record.Bind(identity.Account{WorkspaceID: "ws-1"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(identitytest.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	seed := der[len(der)-32:]
	secrets := []string{
		"access-secret", "refresh-secret", identitytest.JWT(identitytest.Claims), identitytest.JWT(identitytest.AgentClaims), identitytest.PrivateKey, string(seed), hex.EncodeToString(seed),
		base64.StdEncoding.EncodeToString(seed), base64.StdEncoding.EncodeToString(der), fmt.Sprint(seed[:8])[1:16],
		hex.EncodeToString([]byte("access-secret")), strings.Trim(fmt.Sprint([]byte("access-secret")), "[]"),
	}
	for _, v := range []any{
		identity.Secret("access-secret"), []identity.Secret{"access-secret"}, map[string]identity.Secret{"k": "access-secret"},
		key, *key, []identity.Key{*key}, auth, *auth, auth.Tokens, *auth.Tokens, record, *record, auth.Record, id, *id,
		struct{ T *Tokens }{auth.Tokens}, struct{ A *Auth }{auth}, struct{ R *identity.Record }{record}, struct{ I *identity.Identity }{id}, []*Auth{auth},
		struct{ K *identity.Key }{key}, struct{ K identity.Key }{*key},
	} {
		var out, log bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10.3s", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		out.Write(encoded)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		out.Write(log.Bytes())
		for _, secret := range secrets {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%T shows %q", v, secret)
				break
			}
		}
	}
	for _, got := range []string{identity.Secret("x").String(), fmt.Sprintf("%#v", identity.Secret("x")), fmt.Sprint(identity.Secret("x")), slog.AnyValue(identity.Secret("x")).String()} {
		identitytest.Equal(t, "secret", got, "[redacted]")
	}
	identitytest.Equal(t, "key", fmt.Sprintf("%x", key), key.PublicKey())
	identitytest.Equal(t, "key", fmt.Sprintf("%#v", key), key.PublicKey())
	identitytest.Equal(t, "zero key", fmt.Sprint(identity.Key{}), "ssh-ed25519")
	text, err := identity.Secret("x").MarshalText()
	if err != nil || string(text) != "[redacted]" {
		t.Errorf("%s, %v", text, err)
	}
}
