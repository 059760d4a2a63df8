//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// authority is the certificate authority of one run. It vouches for the server,
// and for the programs that have no CA of their own.
type authority struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	certPEM   []byte
	keyPEM    []byte
	serverPEM []byte // a certificate for chatgpt.com and localhost
	serverKey []byte
	server    tls.Certificate

	// Where writeFiles has put them.
	certFile, keyFile, serverFile, serverKeyFile string
}

// The host that requests are for. Programs that cannot be told where a host is
// ask for localhost.
const chatgptHost = "chatgpt.com"

func newAuthority() (*authority, error) {
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "agentproxy bench"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	var err error
	if a.key, a.keyPEM, err = newKey(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.certPEM = certificatePEM(der)

	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		DNSNames:     []string{chatgptHost, "localhost"},
		NotBefore:    template.NotBefore,
		NotAfter:     template.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.serverPEM, a.serverKey = certificatePEM(der), keyPEM
	a.server, err = tls.X509KeyPair(a.serverPEM, a.serverKey)
	return a, err
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeFiles puts everything into dir. The keys are worth nothing beyond the
// run, and rivals read them after they have given up root's rights.
func (a *authority) writeFiles(dir string) error {
	for _, file := range []struct {
		path    *string
		name    string
		content []byte
	}{
		{&a.certFile, "ca.pem", a.certPEM},
		{&a.keyFile, "ca-key.pem", a.keyPEM},
		{&a.serverFile, "server.pem", a.serverPEM},
		{&a.serverKeyFile, "server-key.pem", a.serverKey},
	} {
		*file.path = filepath.Join(dir, file.name)
		if err := os.WriteFile(*file.path, file.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// roots is a pool of the certificates in PEM form.
func roots(certificates ...[]byte) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AppendCertsFromPEM(c)
	}
	return pool
}
