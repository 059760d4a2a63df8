package wycheproof

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"math/big"
	"slices"
	"testing"
	"time"

	c2sp "github.com/c2sp/wycheproof"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/salsa20/salsa"

	"github.com/agentproxy/agentproxy/identity"
)

// hexBytes are bytes that a vector spells in hexadecimal.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	*b = decoded
	return err
}

// A vector is a test of a file of Wycheproof's.
type vector struct {
	ID             int `json:"tcId"`
	Comment        string
	Flags          []string
	Result         string // valid, acceptable, invalid
	Msg, Sig       hexBytes
	Public         hexBytes
	Private        hexBytes
	Shared         hexBytes
	publicOfSigner hexBytes
}

// vectors reads a file of Wycheproof's, all tests of which must be in it.
func vectors(t *testing.T, name string) (all []vector) {
	t.Helper()
	raw, err := fs.ReadFile(c2sp.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ PK hexBytes }
			Tests     []vector
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.TestGroups {
		for _, v := range group.Tests {
			v.publicOfSigner = group.PublicKey.PK
			all = append(all, v)
		}
	}
	if len(all) == 0 || len(all) != file.NumberOfTests {
		t.Fatalf("%s has %d tests, not %d", name, len(all), file.NumberOfTests)
	}
	return all
}

func newKey(t *testing.T) *identity.Key {
	t.Helper()
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestEd25519 verifies all signatures with crypto/ed25519, which identity signs with,
// and an assertion of ours with it.
func TestEd25519(t *testing.T) {
	t.Parallel()
	all := vectors(t, "ed25519_test.json")
	for _, v := range all {
		if got, want := ed25519.Verify(ed25519.PublicKey(v.publicOfSigner), v.Msg, v.Sig), v.Result == "valid"; got != want {
			t.Errorf("%d (%s): verified %t", v.ID, v.Comment, got)
		}
	}
	key := newKey(t)
	a := key.Assert("agent", "task", time.Unix(1_800_000_000, 0))
	ours, err := base64.StdEncoding.DecodeString(a.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(key.Public(), []byte(a.AgentRuntimeID+":"+a.TaskID+":"+a.Timestamp), ours) {
		t.Error("an assertion is not verified")
	}
	t.Logf("%d vectors", len(all))
}

func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

func toLittleEndian(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

// TestX25519 multiplies as the vectors do, and opens task ids that were sealed
// with each of their points for a key of ours. What the key must be is told by
// curve25519, which the vectors vouch for.
func TestX25519(t *testing.T) {
	t.Parallel()
	all := vectors(t, "x25519_test.json")
	key := newKey(t)
	recipient := key.X25519().PublicKey().Bytes()
	lowOrder := 0
	for _, v := range all {
		if got := toLittleEndian(curve25519(v.Private, v.Public)); !bytes.Equal(got, v.Shared) {
			t.Fatalf("%d (%s): the test's own %x, want %x", v.ID, v.Comment, got, []byte(v.Shared))
		}
		private, err := ecdh.X25519().NewPrivateKey(v.Private)
		if err != nil {
			t.Fatal(err)
		}
		public, err := ecdh.X25519().NewPublicKey(v.Public)
		if err != nil {
			t.Fatal(err)
		}
		low := slices.Contains(v.Flags, "LowOrderPublic")
		if shared, err := private.ECDH(public); low != (err != nil) || err == nil && !bytes.Equal(shared, v.Shared) {
			t.Errorf("%d (%s): %x, %v", v.ID, v.Comment, shared, err)
		}

		secret := toLittleEndian(curve25519(key.X25519().Bytes(), v.Public))
		sealed := seal(t, "task-1", secret, v.Public, recipient)
		id, err := key.OpenTaskID(base64.StdEncoding.EncodeToString(sealed))
		switch {
		case low && err == nil:
			t.Errorf("%d (%s): a task id sealed with a point of low order is opened", v.ID, v.Comment)
		case !low && (err != nil || id != "task-1"):
			t.Errorf("%d (%s): %q, %v", v.ID, v.Comment, id, err)
		}
		if low {
			lowOrder++
		}
	}
	t.Logf("%d vectors, %d with points of low order", len(all), lowOrder)
}

// curve25519 is X25519 of RFC 7748, section 5, in numbers without a limit.
func curve25519(scalar, point []byte) *big.Int {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(n *big.Int) *big.Int { return n.Mod(n, p) }
	add := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Add(a, b)) }
	sub := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
	mul := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }

	clamped := slices.Clone(scalar)
	clamped[0] &= 248
	clamped[31] = clamped[31]&127 | 64
	k := littleEndian(clamped)
	masked := slices.Clone(point)
	masked[31] &= 127
	x1 := mod(littleEndian(masked))
	x2, z2, x3, z3 := big.NewInt(1), big.NewInt(0), x1, big.NewInt(1)
	for i := 254; i >= 0; i-- {
		one := k.Bit(i) == 1
		if one {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
		a, b, c, d := add(x2, z2), sub(x2, z2), add(x3, z3), sub(x3, z3)
		aa, bb, da, cb := mul(a, a), mul(b, b), mul(d, a), mul(c, b)
		e := sub(aa, bb)
		sum, difference := add(da, cb), sub(da, cb)
		x3, z3 = mul(sum, sum), mul(x1, mul(difference, difference))
		x2, z2 = mul(aa, bb), mul(e, add(aa, mul(big.NewInt(121665), e)))
		if one {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
	}
	return mul(x2, new(big.Int).Exp(z2, new(big.Int).Sub(p, big.NewInt(2)), p))
}

// seal is crypto_box_seal with the secret that the ephemeral key gives.
func seal(t *testing.T, text string, secret, ephemeral, recipient []byte) []byte {
	t.Helper()
	var shared [32]byte
	salsa.HSalsa20(&shared, new([16]byte), (*[32]byte)(secret), &salsa.Sigma)
	hash, err := blake2b.New(24, nil)
	if err != nil {
		t.Fatal(err)
	}
	hash.Write(ephemeral)
	hash.Write(recipient)
	return box.SealAfterPrecomputation(slices.Clone(ephemeral), []byte(text), (*[24]byte)(hash.Sum(nil)), &shared)
}

// TestForeignPKCS8 has keys come that are none of Ed25519's, in its own form.
func TestForeignPKCS8(t *testing.T) {
	t.Parallel()
	all := vectors(t, "x25519_asn_test.json")
	for _, v := range all {
		if _, err := identity.ParseKey(base64.StdEncoding.EncodeToString(v.Private)); err == nil {
			t.Errorf("%d (%s): a key of X25519 is taken for one of Ed25519", v.ID, v.Comment)
		}
	}
	t.Logf("%d vectors", len(all))
}
