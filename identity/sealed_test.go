package identity

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/nacl/box"
)

// TestSealedWithPointOfLowOrder has boxes come with a public key of which every
// secret is zero, so that anybody can seal and open them. crypto_box_seal_open
// refuses them too.
func TestSealedWithPointOfLowOrder(t *testing.T) {
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	recipient := k.X25519().PublicKey().Bytes()
	for _, point := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		ephemeral, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		var shared [32]byte // the same for every private key
		box.Precompute(&shared, (*[32]byte)(ephemeral), &[32]byte{1})
		hash, err := blake2b.New(24, nil)
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(ephemeral)
		hash.Write(recipient)
		sealed := box.SealAfterPrecomputation(ephemeral, []byte("task-1"), (*[24]byte)(hash.Sum(nil)), &shared)
		if id, err := k.OpenTaskID(base64.StdEncoding.EncodeToString(sealed)); err == nil {
			t.Errorf("sealed with %s: %q", point, id)
		}
	}
	if _, err := k.OpenTaskID(base64.StdEncoding.EncodeToString(make([]byte, 31))); err == nil {
		t.Error("31 bytes are opened")
	}
	sealed, err := box.SealAnonymous(nil, []byte("task-1"), (*[32]byte)(recipient), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := k.OpenTaskID(base64.StdEncoding.EncodeToString(sealed)); err != nil || id != "task-1" {
		t.Errorf("%q, %v", id, err)
	}
}
