package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
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

// The copies under testdata must stay byte for byte what they were copied from,
// wherever that is at hand.
func TestVectorsAreCopies(t *testing.T) {
	for _, copy := range []string{"testdata/vectors/agent_identity.json", "backend/testdata/vectors/urls.json"} {
		original, err := os.ReadFile(filepath.Join("..", "..", "shared", "vectors", filepath.Base(copy)))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(filepath.FromSlash(copy))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(original, ours) {
			t.Errorf("%s differs from the original", copy)
		}
	}
}

func TestKeyVectors(t *testing.T) {
	var v vectors
	identitytest.ReadVectors(t, "agent_identity.json", &v)
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
				identitytest.Equal(t, "seed", hex.EncodeToString(key.private.Seed()), kv.SeedHex)
				identitytest.Equal(t, "encoding", key.Encode().Reveal(), kv.V1)
				identitytest.Equal(t, "public key", key.PublicKey(), kv.SSH)
				identitytest.Equal(t, "X25519 secret", hex.EncodeToString(key.X25519().Bytes()), kv.X25519Secret)
				identitytest.Equal(t, "X25519 public", hex.EncodeToString(key.X25519().PublicKey().Bytes()), kv.X25519Public)
			}
			for _, av := range kv.Assertions {
				at := identitytest.ParseTime(t, av.Timestamp)
				// Another zone and a fraction must not show.
				a := key.Assert(av.AgentRuntimeID, av.TaskID, at.Add(987*time.Millisecond).In(time.FixedZone("", 5400)))
				identitytest.Equal(t, "signature", a.Signature, av.Signature)
				identitytest.Equal(t, "envelope", string(a.Envelope()), av.EnvelopeJSON)
				identitytest.Equal(t, "header", a.Header(), av.Header)
				sig, err := base64.StdEncoding.DecodeString(a.Signature)
				if err != nil || !ed25519.Verify(key.Public(), []byte(a.AgentRuntimeID+":"+a.TaskID+":"+a.Timestamp), sig) {
					t.Errorf("the signature does not match the key, %v", err)
				}
			}
			for _, rv := range kv.TaskRegistrations {
				sig, timestamp := key.SignTaskRegistration(rv.AgentRuntimeID, identitytest.ParseTime(t, rv.Timestamp))
				identitytest.Equal(t, "registration signature", sig, rv.Signature)
				identitytest.Equal(t, "registration timestamp", timestamp, rv.Timestamp)
			}
			for _, sv := range kv.SealedTaskIDs {
				id, err := key.OpenTaskID(sv.Encrypted)
				if err != nil {
					t.Fatal(err)
				}
				identitytest.Equal(t, "task id", id, sv.TaskID)
			}
			identitytest.WantError(t, "not UTF-8", func() error { _, err := key.OpenTaskID(kv.SealedNotUTF8); return err })
			for _, other := range v.Keys {
				if other.SeedHex != kv.SeedHex {
					identitytest.WantError(t, "not sealed for this agent's key", func() error {
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
	identitytest.ReadVectors(t, "agent_identity.json", &v)
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
		identitytest.Equal(t, bad.Why, err.Error(), reasons[bad.Why])
		if len(bad.Value) > 8 && strings.Contains(err.Error(), bad.Value[:8]) {
			t.Errorf("%s: the error repeats the key", bad.Why)
		}
	}
}
