// Package truststore adds certificates to the places where programs of this machine
// look for the CAs they trust, and removes them.
package truststore

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smallstep/truststore"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// The stores that --store names.
const (
	systemName   = "system"
	browsersName = "browsers"
	javaName     = "java"
)

// Names returns the names of all stores.
func Names() []string { return []string{systemName, browsersName, javaName} }

// Store is a place where programs of this machine find the CAs they trust.
type Store struct {
	name    string
	changes string                        // what a change is made to, for the question
	holds   func(*x509.Certificate) bool  // programs that look here trust the CA
	traces  func(*x509.Certificate) bool  // something is left to be removed
	fixed   error                         // why this store cannot be changed, nil if it can
	tidy    func(*x509.Certificate) error // removes what a removal leaves, nil if it leaves nothing
	options []truststore.Option
}

// Open returns the stores of this machine that are asked for by name, or all that there
// are. The notes say why others cannot be changed.
func Open(asked []string) (stores []Store, notes []string, err error) {
	for _, name := range asked {
		if !slices.Contains(Names(), name) {
			return nil, nil, cli.Usagef("--store %s: it is none of %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, name := range Names() {
		if len(asked) > 0 && !slices.Contains(asked, name) {
			continue
		}
		store, err := open(name)
		absent, isAbsent := errors.AsType[*absentStoreError](err)
		switch {
		case err == nil:
			stores = append(stores, store)
		case !isAbsent || len(asked) > 0:
			return nil, nil, err
		case absent.note:
			notes = append(notes, err.Error())
		}
	}
	return stores, notes, nil
}

// absentStoreError says why this machine lacks a store that not every machine has.
type absentStoreError struct {
	message string
	note    bool // of interest to somebody who did not ask for the store
}

func (e *absentStoreError) Error() string { return e.message }

func open(name string) (Store, error) {
	switch name {
	case systemName:
		return openSystem()
	case browsersName:
		return openBrowsers()
	default:
		return openJava()
	}
}

func openBrowsers() (Store, error) {
	databases := nssDatabases()
	if len(databases) == 0 {
		return Store{}, &absentStoreError{message: "there is no Firefox profile, nor a database of Chromium's, for this user; start the browser once"}
	}
	nss, err := truststore.NewNSSTrust()
	if err != nil {
		return Store{}, &absentStoreError{"the browsers' stores need certutil, which is not here; install libnss3-tools (Fedora: nss-tools, macOS: brew install nss)", true}
	}
	return Store{
		name:    browsersName,
		changes: strings.Join(databases, ", "),
		holds:   nss.Exists,
		traces: func(cert *x509.Certificate) bool {
			return slices.ContainsFunc(databases, func(dir string) bool {
				return exec.Command("certutil", "-L", "-d", "sql:"+dir, "-n", storeName(cert)).Run() == nil
			})
		},
		options: []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(nss)},
	}, nil
}

// nssDatabases returns the directories where browsers of this user keep their CAs.
func nssDatabases() []string {
	profiles, _ := filepath.Glob(truststore.NSSProfile)
	if home, err := os.UserHomeDir(); err == nil {
		profiles = append(profiles, filepath.Join(home, ".pki", "nssdb"))
	}
	return slices.DeleteFunc(profiles, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "cert9.db"))
		return err != nil
	})
}

// storeName returns the name that truststore gives a certificate.
func storeName(cert *x509.Certificate) string {
	return cert.Subject.CommonName + " " + cert.SerialNumber.String()
}

func openJava() (Store, error) {
	java, err := truststore.NewJavaTrust()
	if err != nil {
		return Store{}, &absentStoreError{message: "there is no Java with a keytool at JAVA_HOME; set it"}
	}
	return Store{
		name:    javaName,
		changes: "the cacerts of " + os.Getenv("JAVA_HOME"),
		holds:   java.Exists,
		traces:  java.Exists,
		options: []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(java)},
	}, nil
}

// Change adds a certificate to a store, or removes it.
type Change struct {
	Store  Store
	Cert   *x509.Certificate
	Remove bool
}

// Plan returns the changes after which the stores trust wanted and not unwanted, or why one
// of them cannot be made.
func Plan(stores []Store, wanted, unwanted []*x509.Certificate) (changes []Change, err error) {
	for _, store := range stores {
		for _, cert := range wanted {
			if !store.holds(cert) {
				changes = append(changes, Change{Store: store, Cert: cert})
			}
		}
		for _, cert := range unwanted {
			if store.traces(cert) {
				changes = append(changes, Change{Store: store, Cert: cert, Remove: true})
			}
		}
	}
	for _, change := range changes {
		if change.Store.fixed != nil {
			return nil, change.Store.fixed
		}
	}
	return changes, nil
}

// Make makes the change.
func (c Change) Make() error {
	if c.Remove {
		return c.Store.remove(c.Cert)
	}
	return c.Store.add(c.Cert)
}

// Describe returns a line about the change, before it is made or after that.
func (c Change) Describe(done bool) string {
	verb := map[[2]bool]string{{false, false}: "to add", {false, true}: "to remove", {true, false}: "added", {true, true}: "removed"}[[2]bool{done, c.Remove}]
	return fmt.Sprintf("%-9s  %s  %s: %s", verb, c.Cert.Subject.CommonName, c.Store.name, c.Store.changes)
}

// add makes the store trust cert.
func (s Store) add(cert *x509.Certificate) error {
	if err := truststore.Install(cert, s.options...); err != nil {
		return s.failed(err)
	}
	if !s.holds(cert) {
		return fmt.Errorf("the %s store does not hold the CA, though the programs that add it report no error; look at %s", s.name, s.changes)
	}
	return nil
}

// remove makes the store trust cert no longer.
func (s Store) remove(cert *x509.Certificate) error {
	if err := truststore.Uninstall(cert, s.options...); err != nil {
		return s.failed(err)
	}
	if s.tidy != nil {
		if err := s.tidy(cert); err != nil {
			return s.failed(err)
		}
	}
	if s.traces(cert) {
		return fmt.Errorf("the %s store still holds the CA, under a name that agentproxy did not give it; remove it from %s by hand", s.name, s.changes)
	}
	return nil
}

// failed adds the name of the store to an error, and the last line of a program that
// failed.
func (s Store) failed(err error) error {
	if e, ok := errors.AsType[*truststore.CmdError](err); ok {
		err = fmt.Errorf("%s: %w", strings.Join(e.Cmd().Args, " "), e.Err())
		if out := strings.TrimSpace(string(e.Out())); out != "" {
			err = fmt.Errorf("%w: %s", err, out[strings.LastIndex(out, "\n")+1:])
		}
	}
	return fmt.Errorf("change the %s store: %w", s.name, err)
}
