package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	// commonName and issuerName begin the subjects of every CA made here. A short id of
	// its key follows: of two CAs of one name, after a rotation, OpenSSL would try the
	// wrong key.
	commonName = "agentproxy CA "
	issuerName = "agentproxy issuer "

	// authorityYears is how long a CA is valid. Replacing it means telling
	// every client, and its reach is bounded by name rather than by time.
	authorityYears = 10

	// backdate is how long before the moment of its making a certificate is valid, for
	// clients whose clock is behind.
	backdate = time.Hour
)

// serversOnly is the extended key usage of all certificates made here. RFC 5280
// leaves open what it means in a CA: programs take it for a bound on what the CA
// issues, as the CA/Browser Forum does (Baseline Requirements, section 7.1.2.10.6).
var serversOnly = [...]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

// generate makes a CA for cfg.Hosts and returns its two files: the certificate to trust, and
// the issuer with its key. It drops the key of the certificate to trust.
func generate(cfg Config) (certPEM, keyPEM []byte, err error) {
	domains, err := baseDomains(cfg.Hosts)
	if err != nil {
		return nil, nil, err
	}
	if len(domains) == 0 {
		// Without a permitted name the constraints would permit every name.
		return nil, nil, errors.New("make a CA: no hosts to make it for; configure at least one")
	}
	now := cfg.time()
	root, rootKey, err := generateCA(nil, nil, domains, now)
	if err != nil {
		return nil, nil, fmt.Errorf("make a CA: %w", err)
	}
	issuer, key, err := generateCA(root, rootKey, domains, now)
	if err != nil {
		return nil, nil, fmt.Errorf("make a CA: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a CA: %w", err)
	}
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	keyPEM = append(keyPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Raw})...)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), keyPEM, nil
}

// generateCA makes a CA that root signs. Without root the CA signs itself, and may sign one
// below it.
func generateCA(root *x509.Certificate, rootKey *ecdsa.PrivateKey, domains []string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	id := sha256.Sum256(point) // RFC 7093, section 2, method 1
	// The serial number is left to x509, which draws 159 random bits.
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: fmt.Sprintf("%s%x", commonName, id[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           serversOnly[:],
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		SubjectKeyId:          id[:20],
		AuthorityKeyId:        id[:20],
	}
	constrain(template, domains)
	if root == nil {
		root, rootKey = template, key
	} else {
		template.Subject.CommonName = fmt.Sprintf("%s%x", issuerName, id[:4])
		template.MaxPathLen, template.MaxPathLenZero = 0, true
		template.AuthorityKeyId = root.SubjectKeyId
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root, &key.PublicKey, rootKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// issues reports whether key belongs to issuer, and issuer is cert or signed by cert.
func issues(cert, issuer *x509.Certificate, key *ecdsa.PrivateKey) bool {
	if !key.PublicKey.Equal(issuer.PublicKey) {
		return false
	}
	return issuer.Equal(cert) ||
		cert.CheckSignature(issuer.SignatureAlgorithm, issuer.RawTBSCertificate, issuer.Signature) == nil
}
