package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type vectors struct {
	Keys []struct {
		SeedHex      string `json:"seed_hex"`
		V1           string `json:"pkcs8_v1_base64"`
		V2           string `json:"pkcs8_v2_base64"`
		SSH          string `json:"public_key_ssh"`
		X25519Secret string `json:"x25519_secret_hex"`
		X25519Public string `json:"x25519_public_hex"`
		Assertions   []struct {
			AgentRuntimeID string `json:"agent_runtime_id"`
			TaskID         string `json:"task_id"`
			Timestamp      string `json:"timestamp"`
			Signature      string `json:"signature"`
			EnvelopeJSON   string `json:"envelope_json"`
			Header         string `json:"header"`
		} `json:"assertions"`
		TaskRegistrations []struct {
			AgentRuntimeID string `json:"agent_runtime_id"`
			Timestamp      string `json:"timestamp"`
			Signature      string `json:"signature"`
		} `json:"task_registrations"`
		SealedTaskIDs []struct {
			TaskID    string `json:"task_id"`
			Encrypted string `json:"encrypted_task_id"`
		} `json:"sealed_task_ids"`
		SealedNotUTF8 string `json:"sealed_not_utf8"`
	} `json:"keys"`
	BadPrivateKeys []struct {
		Why   string `json:"why"`
		Value string `json:"value"`
	} `json:"bad_private_keys"`
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// The copies under testdata must stay byte for byte what they were copied from,
// wherever that is at hand.
func TestVectorsAreCopies(t *testing.T) {
	for _, name := range []string{"agent_identity.json", "urls.json"} {
		original, err := os.ReadFile(filepath.Join("..", "..", "shared", "vectors", name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(original, ours) {
			t.Errorf("testdata/vectors/%s differs from the original", name)
		}
	}
}

func TestKeyVectors(t *testing.T) {
	var v vectors
	readVectors(t, "agent_identity.json", &v)
	if len(v.Keys) == 0 {
		t.Fatal("no keys")
	}
	for _, kv := range v.Keys {
		t.Run(kv.SeedHex[:4], func(t *testing.T) {
			var key *Key
			for _, encoded := range []string{kv.V1, kv.V2} {
				var err error
				if key, err = ParseKey(encoded); err != nil {
					t.Fatal(err)
				}
				equal(t, "seed", hex.EncodeToString(key.private.Seed()), kv.SeedHex)
				equal(t, "encoding", key.Encode().Reveal(), kv.V1)
				equal(t, "public key", key.PublicKey(), kv.SSH)
				equal(t, "X25519 secret", hex.EncodeToString(key.X25519().Bytes()), kv.X25519Secret)
				equal(t, "X25519 public", hex.EncodeToString(key.X25519().PublicKey().Bytes()), kv.X25519Public)
			}
			for _, av := range kv.Assertions {
				at := parseTime(t, av.Timestamp)
				// Another zone and a fraction must not show.
				a := key.Assert(av.AgentRuntimeID, av.TaskID, at.Add(987*time.Millisecond).In(time.FixedZone("", 5400)))
				equal(t, "signature", a.Signature, av.Signature)
				equal(t, "envelope", string(a.Envelope()), av.EnvelopeJSON)
				equal(t, "header", a.Header(), av.Header)

				parsed, err := ParseAssertion(av.Header)
				if err != nil {
					t.Fatal(err)
				}
				if parsed != a {
					t.Errorf("parsed %+v, want %+v", parsed, a)
				}
				if err := parsed.Verify(key.Public()); err != nil {
					t.Error(err)
				}
				for _, forged := range []Assertion{
					{a.AgentRuntimeID + "x", a.Signature, a.TaskID, a.Timestamp},
					{a.AgentRuntimeID, a.Signature, a.TaskID + "x", a.Timestamp},
					{a.AgentRuntimeID, a.Signature, a.TaskID, "2030-01-01T00:00:00Z"},
					{a.AgentRuntimeID, "", a.TaskID, a.Timestamp},
					{a.AgentRuntimeID, "!", a.TaskID, a.Timestamp},
				} {
					if forged.Verify(key.Public()) == nil {
						t.Errorf("%+v was verified", forged)
					}
				}
				if a.Verify(nil) == nil {
					t.Error("verified without a key")
				}
			}
			for _, rv := range kv.TaskRegistrations {
				sig, timestamp := key.SignTaskRegistration(rv.AgentRuntimeID, parseTime(t, rv.Timestamp))
				equal(t, "registration signature", sig, rv.Signature)
				equal(t, "registration timestamp", timestamp, rv.Timestamp)
			}
			for _, sv := range kv.SealedTaskIDs {
				id, err := key.OpenTaskID(sv.Encrypted)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "task id", id, sv.TaskID)
			}
			wantError(t, "not UTF-8", func() error { _, err := key.OpenTaskID(kv.SealedNotUTF8); return err })
			for _, other := range v.Keys {
				if other.SeedHex != kv.SeedHex {
					wantError(t, "not sealed for this agent's key", func() error {
						_, err := key.OpenTaskID(other.SealedTaskIDs[0].Encrypted)
						return err
					})
				}
			}
		})
	}
}

func TestBadKeyVectors(t *testing.T) {
	var v vectors
	readVectors(t, "agent_identity.json", &v)
	reasons := map[string]string{
		"not base64":                        "agent private key is not standard base64",
		"empty":                             "agent private key is empty",
		"base64 of garbage":                 "agent private key: not a PKCS#8 document",
		"seed cut to 31 bytes":              "agent private key: the PKCS#8 document is cut short",
		"an RSA/EC OID in place of Ed25519": "agent private key: the algorithm is not Ed25519",
		"v2 whose public key belongs to another seed": "agent private key: the public key belongs to another seed",
		"trailing bytes after the DER document":       "agent private key: 2 bytes follow the PKCS#8 document",
		"base64url alphabet, unpadded":                "agent private key is in the base64url alphabet: expected standard base64",
	}
	if len(v.BadPrivateKeys) != len(reasons) {
		t.Errorf("%d bad keys, %d reasons", len(v.BadPrivateKeys), len(reasons))
	}
	for _, bad := range v.BadPrivateKeys {
		_, err := ParseKey(bad.Value)
		if err == nil {
			t.Errorf("%s: accepted", bad.Why)
			continue
		}
		equal(t, bad.Why, err.Error(), reasons[bad.Why])
		if len(bad.Value) > 8 && strings.Contains(err.Error(), bad.Value[:8]) {
			t.Errorf("%s: the error repeats the key", bad.Why)
		}
	}
}

func TestURLVectors(t *testing.T) {
	var v struct {
		Normalize   map[string]string            `json:"normalize_base_url"`
		Supported   []string                     `json:"supported"`
		Unsupported []string                     `json:"unsupported"`
		Endpoints   map[string]map[string]string `json:"endpoints"`
	}
	readVectors(t, "urls.json", &v)
	for in, want := range v.Normalize {
		equal(t, in, NormalizeBaseURL(in), want)
		equal(t, "again "+in, NormalizeBaseURL(want), want)
		if err := CheckBaseURL(in); err != nil {
			t.Error(err)
		}
	}
	for _, u := range v.Supported {
		if !Supported(u) {
			t.Errorf("%q is not supported", u)
		}
	}
	for _, u := range v.Unsupported {
		if Supported(u) {
			t.Errorf("%q is supported", u)
		}
	}
	for base, want := range v.Endpoints {
		e := EndpointsFor(base)
		equal(t, base, e.RegisterAgent, want["register_agent"])
		equal(t, base, e.RegisterTask("agent-123"), want["register_task(agent-123)"])
		equal(t, base, e.Biscuit, want["biscuit"])
	}
	if len(v.Normalize)*len(v.Supported)*len(v.Unsupported)*len(v.Endpoints) == 0 {
		t.Error("a table is empty")
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantError(t testing.TB, text string, f func() error) {
	t.Helper()
	if err := f(); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want one with %q", err, text)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %v", err)
	}
}

func parseTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
