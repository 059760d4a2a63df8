// Package certs implements a local certificate authority for a handful of hosts, and issues
// their leaf certificates.
//
// [Open] makes or loads the authority, [Authority.Leaf] issues a certificate for one of the
// hosts, and [Prepare] and [Rotate] replace the authority without a moment at which clients
// that follow trust none.
//
// The authority is a pair of PEM files in a directory of its own: ca.pem, which
// clients are told to trust, and ca-key.pem, which never leaves the machine. A
// second pair, next.pem and next-key.pem, is there while a rotation is prepared.
//
// The key in ca-key.pem is that of an issuer, whose certificate lies beside it. The key of
// ca.pem is thrown away as soon as it has signed the issuer. Both certificates carry
// critical name constraints (RFC 5280, section 4.2.1.10) and the extended key usage of TLS
// servers: a thief of the key can impersonate these hosts and nothing else. There are two
// certificates because many programs check no constraint of a certificate that they were
// told to trust.
//
// Leaf certificates and their key live in memory only.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is the place of a certificate authority, and the hosts that it is for.
type Config struct {
	// Dir is the directory of ca.pem and ca-key.pem. Open makes it, readable by its owner
	// alone.
	Dir string
	// Hosts are the patterns of the hosts that the authority must be able to vouch for,
	// such as "example.com" or "*.example.com". Either allows example.com and everything
	// below it: name constraints know no finer distinction.
	Hosts []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Authority is a certificate authority that was loaded and checked. It is safe for
// concurrent use.
type Authority struct {
	path    string
	cert    *x509.Certificate
	issuer  *x509.Certificate // that signs leaves; cert in a CA made by earlier versions
	key     *ecdsa.PrivateKey // of issuer
	next    *x509.Certificate // of the prepared CA, nil if there is none
	domains []string          // of the name constraints, lower case
	now     func() time.Time

	leafKey *ecdsa.PrivateKey // shared by all leaves
	mu      sync.Mutex
	leaves  map[string]*tls.Certificate // by lower-case host
}

// Open loads the CA in cfg.Dir. If there is none, it makes one first: ECDSA P-256, valid for
// ten years. If several processes open an empty directory at once, one makes the CA and all
// return it.
//
// Open never overwrites a CA, however broken. The error is one line that names the file,
// what is wrong with it, and the remedy. It is an error, too, if the name constraints do not
// cover all of cfg.Hosts.
func Open(cfg Config) (*Authority, error) {
	// A CA that is there needs neither lock nor write permission.
	a, err := Load(cfg)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	certPEM, keyPEM, err := generate(cfg)
	if err != nil {
		return nil, err
	}
	s, unlock, err := lockStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a, err = Load(cfg)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err // another process was faster
	}
	// A process that was killed while it activated a prepared CA has left the prepared
	// one alone, and clients trust it already.
	switch prepared, err := s.next.read(cfg); {
	case err == nil:
		certPEM, keyPEM = prepared.certPEM, prepared.keyPEM
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w, or %s", err, discardIt)
	}
	if err := s.write(s.ca, certPEM, keyPEM); err != nil {
		return nil, err
	}
	return s.discardAndLoad(cfg)
}

// Load is [Open] that writes nothing. If there is no CA, the error wraps
// [fs.ErrNotExist].
func Load(cfg Config) (*Authority, error) {
	s, err := newStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c, err := s.ca.read(cfg)
	if err != nil {
		return nil, err
	}
	next, err := s.prepared(c.cert)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for leaf certificates: %w", err)
	}
	return &Authority{
		path:    s.ca.cert,
		cert:    c.cert,
		issuer:  c.issuer,
		key:     c.key,
		next:    next,
		domains: permitted(c.issuer),
		now:     cfg.time,
		leafKey: leafKey,
		leaves:  make(map[string]*tls.Certificate),
	}, nil
}

// Rotate replaces the CA in cfg.Dir, which may be broken or missing, by the one that
// [Prepare] made, or by a new one for cfg.Hosts if none was prepared. The former certificate
// is kept as ca-<time>.pem, for clients that must trust both for a while. The former private
// key is deleted: it is of use to a thief alone.
//
// Processes that run with the former CA use it until they load the CA again.
func Rotate(cfg Config) (*Authority, error) {
	certPEM, keyPEM, err := generate(cfg)
	if err != nil {
		return nil, err
	}
	s, unlock, err := lockStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch prepared, err := s.next.read(cfg); {
	case err == nil && holds(s.ca.cert, prepared.certPEM):
		return s.discardAndLoad(cfg) // killed when only this was left to do
	case err == nil:
		certPEM, keyPEM = prepared.certPEM, prepared.keyPEM
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w, or %s", err, discardIt)
	}
	retired, err := s.retire(cfg.time())
	if err != nil {
		return nil, err
	}
	if err := s.write(s.ca, certPEM, keyPEM); err != nil {
		if retired != "" && !holds(s.ca.key, keyPEM) {
			os.Rename(retired, s.ca.cert) // the former pair is still whole
		}
		return nil, err
	}
	return s.discardAndLoad(cfg)
}

// Certificate returns the CA's certificate. The caller must not change it.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// OnlyServers reports whether the CA's key makes certificates for TLS servers alone. The key
// of a CA made by an earlier version may make any.
func (a *Authority) OnlyServers() bool {
	return slices.Equal(a.issuer.ExtKeyUsage, serversOnly[:]) && len(a.issuer.UnknownExtKeyUsage) == 0
}

// Path returns the path of ca.pem.
func (a *Authority) Path() string { return a.path }

// PEM returns the certificate of the CA and that of the prepared one, if there is one, for
// clients to trust. It holds neither a key nor a former CA, for one whose key was stolen must
// not be trusted any longer.
func (a *Authority) PEM() []byte {
	certs := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if a.next != nil {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.next.Raw})...)
	}
	return certs
}

// Fingerprint returns the SHA-256 of the CA's certificate as openssl x509 -fingerprint
// -sha256 prints it, such as "3A:5F:…".
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert) }

// Fingerprint is [Authority.Fingerprint] for any certificate.
func Fingerprint(cert *x509.Certificate) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(cert.Raw)), " ", ":")
}

// time returns the time by cfg's clock.
func (cfg Config) time() time.Time {
	if cfg.Now == nil {
		return time.Now()
	}
	return cfg.Now()
}

// checkAuthority returns an error, with the remedy again, that says why cert cannot be the CA
// for domains at the time now.
func checkAuthority(cert *x509.Certificate, now time.Time, domains []string, again string) error {
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return fmt.Errorf("not the certificate of a CA; restore it, or %s", again)
	case cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("its key usage does not allow signing certificates; %s", again)
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired on %s; %s", cert.NotAfter.Format(time.RFC3339), again)
	case now.Before(cert.NotBefore):
		return fmt.Errorf("not valid before %s; set this machine's clock, or %s", cert.NotBefore.Format(time.RFC3339), again)
	case !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) == 0:
		return fmt.Errorf("no critical name constraints, so it could vouch for any host; %s", again)
	}
	if !excludesAddresses(cert) {
		return fmt.Errorf("its name constraints do not exclude all addresses, so it could vouch for any; %s", again)
	}
	missing := slices.DeleteFunc(slices.Clone(domains), func(domain string) bool {
		return covers(permitted(cert), domain)
	})
	if len(missing) > 0 {
		return fmt.Errorf("its name constraints (%s) do not cover %s; %s",
			strings.Join(permitted(cert), ", "), strings.Join(missing, ", "), again)
	}
	return nil
}
