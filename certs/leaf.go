package certs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

const (
	leafLifetime = 7 * 24 * time.Hour
	leafRenewal  = 24 * time.Hour // renewed when less than this is left
	maxLeaves    = 1024           // hosts whose leaf is kept
)

// Leaf returns a certificate for host, a DNS name without port, in whatever case. It is
// valid for seven days, but not beyond the CA. Until a day before it expires, all calls for
// the host return the same one, which callers must not change.
//
// The chain is the leaf and its issuer, without the CA, which clients have already. The
// error says that the name constraints do not cover host, or that the CA has expired.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	host = strings.ToLower(host)
	now := a.now()

	// Signing takes a tenth of a millisecond, once per host and week: the lock may be
	// held meanwhile.
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[host]; leaf != nil && a.fresh(leaf.Leaf, now) {
		return leaf, nil
	}
	if !a.Covers(host) {
		return nil, fmt.Errorf("certificate for %q: the name constraints of %s (%s) do not cover it; add it to the configured hosts and %s",
			host, a.path, strings.Join(a.domains, ", "), rotate)
	}
	leaf, err := a.sign(host, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", host, err)
	}
	if len(a.leaves) >= maxLeaves {
		for other := range a.leaves {
			delete(a.leaves, other) // any will do: it is cheap to make again
			break
		}
	}
	a.leaves[host] = leaf
	return leaf, nil
}

// fresh reports whether leaf can be served at the time now. One that ends with the CA is
// served to its end, for another would not last longer.
func (a *Authority) fresh(leaf *x509.Certificate, now time.Time) bool {
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return false
	}
	return leaf.NotAfter.Sub(now) >= leafRenewal || leaf.NotAfter.Equal(a.cert.NotAfter)
}

// sign returns a new leaf for host. Its subject is empty, and so its alternative name is
// critical (RFC 5280, section 4.2.1.6): a common name could not hold every host, and no
// client looks at it.
func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	if now.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the CA in %s expired on %s; %s", a.path, a.cert.NotAfter.Format(time.RFC3339), rotate)
	}
	notAfter := now.Add(leafLifetime)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	template := &x509.Certificate{
		DNSNames:              []string{host},
		NotBefore:             now.Add(-backdate),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           serversOnly[:],
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.issuer, &a.leafKey.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{der}
	if a.issuer != a.cert {
		chain = append(chain, a.issuer.Raw)
	}
	// With Leaf set, crypto/tls need not parse it at each handshake.
	return &tls.Certificate{Certificate: chain, PrivateKey: a.leafKey, Leaf: leaf}, nil
}
