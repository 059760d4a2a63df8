package chatgpttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"

	"golang.org/x/crypto/nacl/box"
)

// x25519PublicKey returns the X25519 key that belongs to an Ed25519 public key:
// u = (1+y)/(1-y) modulo p = 2^255-19 (RFC 7748, section 4.1).
func x25519PublicKey(pub ed25519.PublicKey) (*[32]byte, error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, errors.New("not an Ed25519 public key")
	}
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))

	bigEndian := slices.Clone(pub)
	slices.Reverse(bigEndian)
	bigEndian[0] &= 0x7f // the sign of x is not needed
	y := new(big.Int).SetBytes(bigEndian)

	one := big.NewInt(1)
	den := new(big.Int).Sub(one, y)
	if den.Mod(den, p).ModInverse(den, p) == nil {
		return nil, errors.New("the Ed25519 public key has no X25519 form")
	}
	u := new(big.Int).Add(one, y)
	u.Mul(u, den).Mod(u, p)

	var out [32]byte
	u.FillBytes(out[:])
	slices.Reverse(out[:])
	return &out, nil
}

// sealTask encrypts a task id for the holder of an Ed25519 key, as
// crypto_box_seal does.
func sealTask(taskID string, pub ed25519.PublicKey) (string, error) {
	key, err := x25519PublicKey(pub)
	if err != nil {
		return "", err
	}
	sealed, err := box.SealAnonymous(nil, []byte(taskID), key, rand.Reader)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}
