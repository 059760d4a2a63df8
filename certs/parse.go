package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// parseCertificate parses a file with one PEM certificate in it.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	der, err := decodePEM(data, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate: %w", err)
	}
	return cert, nil
}

// parseIssuer parses a file with a private key and the certificate of the issuer that the key
// belongs to. In the files of earlier versions there is no such certificate, and the key
// belongs to cert.
func parseIssuer(data []byte, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) == 0 {
		key, err := parseKey(data)
		return cert, key, err
	}
	key, err := parseKey(pem.EncodeToMemory(block))
	if err != nil {
		return nil, nil, err
	}
	issuer, err := parseCertificate(rest)
	return issuer, key, err
}

// parseKey parses a file with one PEM private key in it, ECDSA P-256, in PKCS #8 (RFC 5958)
// or SEC 1 (RFC 5915). Its errors show nothing of the file's content.
func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	der, err := decodePEM(data, "PRIVATE KEY", "EC PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		parsed, err = x509.ParseECPrivateKey(der)
	}
	if err != nil {
		return nil, errors.New("malformed private key")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return key, nil
}

// decodePEM returns the content of the only PEM block in data, which must be of one of
// types.
func decodePEM(data []byte, types ...string) ([]byte, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("empty file")
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("not PEM, or cut short")
	case !slices.Contains(types, block.Type):
		return nil, fmt.Errorf("PEM block %q where %q is wanted", block.Type, types[0])
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("more than one PEM block")
	}
	return block.Bytes, nil
}
