package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// pkcs8Prefix precedes the seed in a version 1 document (RFC 8410, section 7).
const pkcs8Prefix = "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"

// Key is an agent identity's Ed25519 key. Formatting it in any way shows the
// public key only.
type Key struct {
	private ed25519.PrivateKey
}

var _ fmt.Formatter = Key{}

// GenerateKey returns a new key.
func GenerateKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating an agent key: %w", err)
	}
	return &Key{private}, nil
}

// ParseKey parses a private key: standard base64 of a PKCS#8 document with nothing after
// it. The document is of version 1 (RFC 5208: the seed, 48 bytes) or version 2 (RFC 5958:
// the seed and its public key, 83 bytes). The error never repeats the input.
func ParseKey(s string) (*Key, error) {
	if s == "" {
		return nil, errors.New("agent private key is empty")
	}
	der, err := decodeBase64(s)
	if err != nil {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err == nil && strings.ContainsAny(s, "-_") && bytes.HasPrefix(b, []byte{0x30}) {
			return nil, errors.New("agent private key is in the base64url alphabet: expected standard base64")
		}
		return nil, errors.New("agent private key is not standard base64")
	}
	seed, err := parsePKCS8(der)
	if err != nil {
		return nil, fmt.Errorf("agent private key: %w", err)
	}
	return &Key{seed}, nil
}

func parsePKCS8(der []byte) (ed25519.PrivateKey, error) {
	var (
		input                            = cryptobyte.String(der)
		doc, algorithm, oid, inner, seed cryptobyte.String
		version                          int
		ed25519OID                       = []byte{0x2b, 0x65, 0x70} // 1.3.101.112
	)
	if !input.ReadASN1(&doc, asn1.SEQUENCE) {
		if len(der) > 1 && der[0] == 0x30 && der[1] < 0x80 && int(der[1]) > len(der)-2 {
			return nil, errors.New("the PKCS#8 document is cut short")
		}
		return nil, errors.New("not a PKCS#8 document")
	}
	if !input.Empty() {
		return nil, fmt.Errorf("%d bytes follow the PKCS#8 document", len(input))
	}
	if !doc.ReadASN1Integer(&version) || !doc.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !doc.ReadASN1(&inner, asn1.OCTET_STRING) {
		return nil, errors.New("not a PKCS#8 document")
	}
	if !bytes.Equal(oid, ed25519OID) || !algorithm.Empty() {
		return nil, errors.New("the algorithm is not Ed25519")
	}
	if !inner.ReadASN1(&seed, asn1.OCTET_STRING) || !inner.Empty() || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the seed is not %d bytes", ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	switch version {
	case 0:
	case 1:
		// [1] IMPLICIT BIT STRING: a count of unused bits, then the key.
		var public cryptobyte.String
		if !doc.ReadASN1(&public, asn1.Tag(1).ContextSpecific()) {
			return nil, errors.New("version 2 of PKCS#8 without the public key")
		}
		if !bytes.Equal(public, append([]byte{0}, private.Public().(ed25519.PublicKey)...)) {
			return nil, errors.New("the public key belongs to another seed")
		}
	default:
		return nil, fmt.Errorf("version %d of PKCS#8 is not known", int64(version)+1)
	}
	if !doc.Empty() {
		return nil, errors.New("the PKCS#8 document holds more than a key")
	}
	return private, nil
}

// Encode returns the private key in standard base64 of PKCS#8 version 1.
func (k *Key) Encode() Secret {
	der := append([]byte(pkcs8Prefix), k.private.Seed()...)
	return Secret(base64.StdEncoding.EncodeToString(der))
}

// Public returns the public key.
func (k *Key) Public() ed25519.PublicKey {
	return k.private.Public().(ed25519.PublicKey)
}

// PublicKey returns the public key as OpenSSH writes it, without a comment, such as
// "ssh-ed25519 AAAA…".
func (k *Key) PublicKey() string { return k.String() }

// String returns the same as [Key.PublicKey].
func (k Key) String() string {
	const algorithm = "ssh-ed25519"
	if len(k.private) == 0 {
		return algorithm
	}
	var blob []byte
	for _, part := range [][]byte{[]byte(algorithm), k.Public()} {
		blob = binary.BigEndian.AppendUint32(blob, uint32(len(part)))
		blob = append(blob, part...)
	}
	return algorithm + " " + base64.StdEncoding.EncodeToString(blob)
}

// Format writes the public key for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText returns the public key. Package encoding/json uses it too.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// decodeBase64 decodes padded standard base64. Unlike encoding/base64 it refuses line
// breaks and stray bits, so that a value has one spelling.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not standard base64: line break")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not standard base64")
	}
	return b, nil
}
