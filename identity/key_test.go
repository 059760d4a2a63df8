package identity

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

const testKey = "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"

func mustKey(t testing.TB) *Key {
	t.Helper()
	k, err := ParseKey(testKey)
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
	equal(t, "public key", again.PublicKey(), a.PublicKey())
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
		wantError(t, tt.reason, func() error { return err })
	}
	for _, s := range []string{"\n", testKey + "\n", " " + testKey, testKey[:8] + "\r\n" + testKey[8:], "A", "====", "AB=="} {
		wantError(t, "not standard base64", func() error { _, err := ParseKey(s); return err })
	}
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
		{"A" + seal("x")[1:], "not sealed"},
	} {
		wantError(t, tt.text, func() error { _, err := k.OpenTaskID(tt.encrypted); return err })
	}
}

func TestParseAssertionRefuses(t *testing.T) {
	encode := func(s string) string { return "AgentAssertion " + base64.RawURLEncoding.EncodeToString([]byte(s)) }
	good := `{"agent_runtime_id":"a","signature":"s","task_id":"t","timestamp":"2026-03-23T12:00:00Z"}`
	for _, tt := range []struct{ header, text string }{
		{"", "not an AgentAssertion"},
		{"Bearer x", "not an AgentAssertion"},
		{"AgentAssertion", "empty"},
		{"AgentAssertion  " + encode(good)[15:], "base64url"},
		{encode(good) + "=", "base64url"},
		{encode(good) + "\n", "base64url"},
		{encode(`[]`), "expected object"},
		{encode(`null`), "expected object"},
		{encode(`{`), "ends in the middle"},
		{encode(good + good), "more follows"},
		{encode(strings.Replace(good, `"t"`, `1`, 1)), "agent assertion.task_id: expected string"},
		{encode(strings.Replace(good, `"t"`, `""`, 1)), "agent assertion.task_id: missing"},
		{encode(strings.Replace(good, `task_id`, `Task_ID`, 1)), "agent assertion.task_id: missing"},
		{encode(strings.Replace(good, `task_id`, `signature`, 1)), `field "signature" appears twice`},
		{encode(strings.Replace(good, `00Z`, `00.5Z`, 1)), "timestamp: expected RFC 3339"},
		{encode(strings.Replace(good, `00Z`, `00+01:00`, 1)), "timestamp: expected RFC 3339"},
	} {
		wantError(t, tt.text, func() error { _, err := ParseAssertion(tt.header); return err })
	}
	for _, header := range []string{encode(good), strings.Replace(encode(good), "AgentA", "agenta", 1),
		encode(strings.Replace(good, "{", `{"new":{"deep":[1]},`, 1))} {
		if _, err := ParseAssertion(header); err != nil {
			t.Error(err)
		}
	}
}

// Every string comes back from its envelope, control characters included.
func TestEnvelopeEscapes(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x2030) {
		all.WriteRune(r)
	}
	a := mustKey(t).Assert(all.String(), "\x00\x1f\x7f\"\\/<>&\b\f\n\r\t", time.Unix(0, 0))
	parsed, err := ParseAssertion(a.Header())
	if err != nil {
		t.Fatal(err)
	}
	if parsed != a {
		t.Error("changed on the way")
	}
	equal(t, "escapes", string(strictjson.AppendString(nil, a.TaskID)), "\"\\u0000\\u001f\x7f\\\"\\\\/<>&\\b\\f\\n\\r\\t\"")
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
	equal(t, "error", err.Error(), "agent task runtime agent-2 does not match stored agent identity agent-1")
	wantError(t, "no id", func() error { _, err := id.Assert(Task{"agent-1", ""}, at); return err })
	wantError(t, "not UTF-8", func() error { _, err := id.Assert(Task{"agent-1", "\xff"}, at); return err })
}

func BenchmarkAssertHeader(b *testing.B) {
	k := mustKey(b)
	at := time.Unix(1774267200, 0)
	b.ReportAllocs()
	for b.Loop() {
		k.Assert("agent-123", "task-123", at).Header()
	}
}

func BenchmarkVerifyHeader(b *testing.B) {
	k := mustKey(b)
	header := k.Assert("agent-123", "task-123", time.Unix(1774267200, 0)).Header()
	b.ReportAllocs()
	for b.Loop() {
		a, err := ParseAssertion(header)
		if err != nil || a.Verify(k.Public()) != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIsBootstrapPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		IsBootstrapPath("/backend-api/codex/responses")
	}
}
