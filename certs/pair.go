package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// pair are the paths of the two files of a CA.
type pair struct {
	cert, key string
	again     string // the remedy if they are of no use
}

// contents are what is in a pair.
type contents struct {
	certPEM, keyPEM []byte
	cert            *x509.Certificate
	issuer          *x509.Certificate // that signs leaves; cert in a CA made by earlier versions
	key             *ecdsa.PrivateKey // of issuer
}

// read returns the CA, which can vouch for cfg.Hosts. If there is no certificate, the error
// wraps [fs.ErrNotExist].
func (p pair) read(cfg Config) (c contents, err error) {
	domains, err := baseDomains(cfg.Hosts)
	if err != nil {
		return c, err
	}
	if err := c.readFiles(p); err != nil {
		return c, err
	}
	if c.cert, err = parseCertificate(c.certPEM); err != nil {
		return c, fmt.Errorf("read %s: %w; restore it, or %s", p.cert, err, p.again)
	}
	if c.issuer, c.key, err = parseIssuer(c.keyPEM, c.cert); err != nil {
		return c, fmt.Errorf("read %s: %w; restore it, or %s", p.key, err, p.again)
	}
	if !issues(c.cert, c.issuer, c.key) {
		return c, fmt.Errorf("read %s: not the key of %s; restore the pair, or %s", p.key, p.cert, p.again)
	}
	if err := checkAuthority(c.cert, cfg.time(), domains, p.again); err != nil {
		return c, fmt.Errorf("read %s: %w", p.cert, err)
	}
	if err := checkAuthority(c.issuer, cfg.time(), domains, p.again); err != nil {
		return c, fmt.Errorf("read %s: %w", p.key, err)
	}
	return c, nil
}

// readFiles reads the two files.
func (c *contents) readFiles(p pair) (err error) {
	if _, err := os.Stat(p.cert); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w; agentproxy serve makes a CA when it first starts", p.cert, fs.ErrNotExist)
	}
	if err := checkDir(filepath.Dir(p.cert)); err != nil {
		return err
	}
	if c.certPEM, err = readFile(p.cert, safefile.OthersWrite); err != nil {
		return err
	}
	if _, err := os.Stat(p.key); errors.Is(err, fs.ErrNotExist) {
		// Not ErrNotExist: the certificate may be trusted somewhere.
		return fmt.Errorf("read %s: no such file, though %s is there; restore it, or %s", p.key, p.cert, p.again)
	}
	if c.keyPEM, err = readFile(p.key, safefile.BeyondOwner); err != nil {
		return err
	}
	// The key belongs to the certificate if that is still the same. Otherwise the CA was
	// rotated meanwhile.
	if !holds(p.cert, c.certPEM) {
		return c.readFiles(p)
	}
	return nil
}
