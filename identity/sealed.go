package identity

import (
	"crypto/ecdh"
	"crypto/sha512"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/nacl/box"
)

// X25519 returns the key that task ids are sealed for: the first half of the seed's
// SHA-512, clamped, as libsodium's crypto_sign_ed25519_sk_to_curve25519 makes it.
func (k *Key) X25519() *ecdh.PrivateKey {
	h := sha512.Sum512(k.private.Seed())
	h[0] &= 248
	h[31] = h[31]&127 | 64
	x, err := ecdh.X25519().NewPrivateKey(h[:32])
	if err != nil {
		panic("identity: X25519 refused 32 bytes") // it takes any 32
	}
	return x
}

var errNotSealed = errors.New("encrypted_task_id was not sealed for this agent's key, or is damaged")

// OpenTaskID returns the task id in encrypted, the encrypted_task_id of a registration:
// standard base64 of a NaCl sealed box (crypto_box_seal) for [Key.X25519]. The task id
// must be UTF-8 and not empty.
func (k *Key) OpenTaskID(encrypted string) (string, error) {
	sealed, err := decodeBase64(encrypted)
	if err != nil {
		return "", fmt.Errorf("encrypted_task_id: %w", err)
	}
	x := k.X25519()
	// The key that it begins with must give a secret: with a point of low order
	// everybody knows it. Package box takes it for any other, libsodium does not.
	if ephemeral, err := ecdh.X25519().NewPublicKey(sealed[:min(len(sealed), 32)]); err != nil {
		return "", errNotSealed
	} else if _, err := x.ECDH(ephemeral); err != nil {
		return "", errNotSealed
	}
	id, ok := box.OpenAnonymous(nil, sealed, (*[32]byte)(x.PublicKey().Bytes()), (*[32]byte)(x.Bytes()))
	switch {
	case !ok:
		return "", errNotSealed
	case len(id) == 0:
		return "", errors.New("encrypted_task_id holds an empty task id")
	case !utf8.Valid(id):
		return "", errors.New("encrypted_task_id holds a task id that is not UTF-8")
	}
	return string(id), nil
}
