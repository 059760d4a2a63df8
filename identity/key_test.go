package identity

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

func mustKey(t testing.TB) *Key {
	t.Helper()
	k, err := ParseKey(identitytest.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestGenerateKey(t *testing.T) {
	a, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := GenerateKey()
	if a.PublicKey() == b.PublicKey() {
		t.Error("two keys are the same")
	}
	again, err := ParseKey(a.Encode().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	identitytest.Equal(t, "public key", again.PublicKey(), a.PublicKey())
}

func TestParseKeyRefuses(t *testing.T) {
	seed := strings.Repeat("07", 32)
	for _, tt := range []struct{ der, reason string }{
		{"302e020100300506032b657004220420" + seed, ""},
		{"302e020102300506032b657004220420" + seed, "version 3 of PKCS#8 is not known"},
		{"302e0201ff300506032b657004220420" + seed, "version 0 of PKCS#8 is not known"},
		{"302e020101300506032b657004220420" + seed, "version 2 of PKCS#8 without the public key"},
		{"3030020100300506032b657004220420" + seed + "a000", "holds more than a key"},
		{"3030020100300706032b6570050004220420" + seed, "the algorithm is not Ed25519"},
		{"302d020100300506032b657004210420" + seed[2:], "the seed is not 32 bytes"},
		{"302d020100300506032b65700421041f" + seed[2:], "the seed is not 32 bytes"},
		{"30820030020100300506032b657004220420" + seed, "not a PKCS#8 document"},
		{"3000", "not a PKCS#8 document"},
		{"30", "not a PKCS#8 document"},
		{"3001", "cut short"},
	} {
		der, err := hex.DecodeString(tt.der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseKey(base64.StdEncoding.EncodeToString(der))
		if tt.reason == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		identitytest.WantError(t, tt.reason, func() error { return err })
	}
	for _, s := range []string{"\n", identitytest.PrivateKey + "\n", " " + identitytest.PrivateKey, identitytest.PrivateKey[:8] + "\r\n" + identitytest.PrivateKey[8:], "A", "====", "AB=="} {
		identitytest.WantError(t, "not standard base64", func() error { _, err := ParseKey(s); return err })
	}
}

// alter returns base64 with another first character.
func alter(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestOpenTaskID(t *testing.T) {
	k := mustKey(t)
	seal := func(id string) string {
		sealed, err := box.SealAnonymous(nil, []byte(id), (*[32]byte)(k.X25519().PublicKey().Bytes()), nil)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(sealed)
	}
	id, err := k.OpenTaskID(seal("task-1"))
	if err != nil || id != "task-1" {
		t.Errorf("got %q, %v", id, err)
	}
	for _, tt := range []struct{ encrypted, text string }{
		{seal(""), "empty task id"},
		{"", "not sealed"},
		{"AAAA", "not sealed"},
		{"*", "not standard base64"},
		{seal("x")[:20], "not sealed"},
		{alter(seal("x")), "not sealed"},
	} {
		identitytest.WantError(t, tt.text, func() error { _, err := k.OpenTaskID(tt.encrypted); return err })
	}
}

// Every string comes back from its envelope, control characters included.
func TestEnvelopeEscapes(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x2030) {
		all.WriteRune(r)
	}
	a := mustKey(t).Assert(all.String(), "\x00\x1f\x7f\"\\/<>&\b\f\n\r\t", time.Unix(0, 0))
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.Header(), "AgentAssertion "))
	if err != nil {
		t.Fatal(err)
	}
	var parsed Assertion
	if err := json.Unmarshal(raw, &struct {
		ID        *string `json:"agent_runtime_id"`
		Signature *string `json:"signature"`
		Task      *string `json:"task_id"`
		At        *string `json:"timestamp"`
	}{&parsed.AgentRuntimeID, &parsed.Signature, &parsed.TaskID, &parsed.Timestamp}); err != nil || parsed != a {
		t.Errorf("changed on the way, %v", err)
	}
	identitytest.Equal(t, "escapes", string(strictjson.AppendString(nil, a.TaskID)), "\"\\u0000\\u001f\x7f\\\"\\\\/<>&\\b\\f\\n\\r\\t\"")
}

func TestIdentityAssert(t *testing.T) {
	id := &Identity{AgentRuntimeID: "agent-1", Key: mustKey(t)}
	at := time.Unix(1774267200, 0)
	a, err := id.Assert(Task{"agent-1", "task-1"}, at)
	if err != nil || a != id.Key.Assert("agent-1", "task-1", at) {
		t.Errorf("got %v, %v", a, err)
	}
	_, err = id.Assert(Task{"agent-2", "task-1"}, at)
	if err == nil {
		t.Fatal("another agent's task was signed")
	}
	identitytest.Equal(t, "error", err.Error(), "agent task runtime agent-2 does not match stored agent identity agent-1")
	identitytest.WantError(t, "no id", func() error { _, err := id.Assert(Task{"agent-1", ""}, at); return err })
	identitytest.WantError(t, "not UTF-8", func() error { _, err := id.Assert(Task{"agent-1", "\xff"}, at); return err })
}

func BenchmarkAssertHeader(b *testing.B) {
	k := mustKey(b)
	at := time.Unix(1774267200, 0)
	b.ReportAllocs()
	for b.Loop() {
		k.Assert("agent-123", "task-123", at).Header()
	}
}
