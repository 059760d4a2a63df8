package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// The remedies for a prepared CA that is of no use.
const (
	prepareAgain = "run: agentproxy ca rotate --prepare"
	discardIt    = "run: agentproxy ca rotate --discard"
)

// Prepare makes the CA that the next [Rotate] puts in place. It returns the present one,
// whose PEM and Bundle hold both certificates from now on: clients that get these go on
// working when the CA is rotated. A prepared CA that can vouch for cfg.Hosts is kept, for
// clients may trust it already.
//
// The prepared CA lies in next.pem and next-key.pem. If the directory was stolen, its key was
// too: call [Discard] before Rotate.
func Prepare(cfg Config) (*Authority, error) {
	certPEM, keyPEM, err := generate(cfg)
	if err != nil {
		return nil, err
	}
	s, err := newStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.ca.cert); errors.Is(err, fs.ErrNotExist) {
		return Load(cfg) // says that there is nothing to rotate
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if prepared, err := s.next.read(cfg); err == nil && !holds(s.ca.cert, prepared.certPEM) {
		return Load(cfg)
	}
	// In the order of write, and for its reason.
	if err := s.discard(); err != nil {
		return nil, err
	}
	if err := s.write(s.next, certPEM, keyPEM); err != nil {
		return nil, err
	}
	return Load(cfg)
}

// Discard removes the CA that [Prepare] has made, if there is one.
func Discard(cfg Config) error {
	s, unlock, err := lockStore(cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	return s.discard()
}

// Next returns the certificate of the prepared CA, nil if there is none.
func (a *Authority) Next() *x509.Certificate { return a.next }

// prepared returns the certificate that is to follow current, nil if there is none.
func (s store) prepared(current *x509.Certificate) (*x509.Certificate, error) {
	data, err := readFile(s.next.cert, safefile.OthersWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; %s", s.next.cert, err, prepareAgain)
	}
	if cert.Equal(current) {
		return nil, nil
	}
	return cert, nil
}

// discard removes the prepared CA. The caller holds the lock.
func (s store) discard() error {
	// The certificate first: without it the key counts for nothing.
	for _, path := range []string{s.next.cert, s.next.key} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w; %s", err, writable)
		}
	}
	return nil
}

// discardAndLoad ends a rotation, after which the prepared CA is in place.
func (s store) discardAndLoad(cfg Config) (*Authority, error) {
	if err := s.discard(); err != nil {
		return nil, err
	}
	return Load(cfg)
}
