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

func Names() []string { return []string{systemName, browsersName, javaName} }

// Store is a place where programs of this machine find the CAs they trust.
type Store struct {
	Name    string
	Changes string                       // what a change changes, for the question
	Holds   func(*x509.Certificate) bool // programs that look here trust the CA
	Traces  func(*x509.Certificate) bool // something is left to be removed
	options []truststore.Option
}

// Open returns the stores of this machine that are asked for, or all that
// there are. Of those that cannot be changed notes say why.
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

// absentStoreError says why there is no store of a kind that not every machine
// has.
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
		Name:    browsersName,
		Changes: strings.Join(databases, ", "),
		Holds:   nss.Exists,
		Traces:  func(cert *x509.Certificate) bool { return anyDatabaseHolds(databases, cert) },
		options: []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(nss)},
	}, nil
}

// nssDatabases are the directories where browsers of this user keep their CAs.
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

// anyDatabaseHolds asks certutil for what truststore adds a certificate as.
func anyDatabaseHolds(databases []string, cert *x509.Certificate) bool {
	return slices.ContainsFunc(databases, func(dir string) bool {
		return exec.Command("certutil", "-L", "-d", "sql:"+dir, "-n", storeName(cert)).Run() == nil
	})
}

// storeName is the name that truststore gives a certificate.
func storeName(cert *x509.Certificate) string {
	return cert.Subject.CommonName + " " + cert.SerialNumber.String()
}

func openJava() (Store, error) {
	java, err := truststore.NewJavaTrust()
	if err != nil {
		return Store{}, &absentStoreError{message: "there is no Java with a keytool at JAVA_HOME; set it"}
	}
	return Store{
		Name:    javaName,
		Changes: "the cacerts of " + os.Getenv("JAVA_HOME"),
		Holds:   java.Exists,
		Traces:  java.Exists,
		options: []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(java)},
	}, nil
}

// Add has the store trust cert.
func (s Store) Add(cert *x509.Certificate) error {
	if err := truststore.Install(cert, s.options...); err != nil {
		return s.failed(err)
	}
	if !s.Holds(cert) {
		return fmt.Errorf("the %s store does not hold the CA, though the programs that add it report no error; look at %s", s.Name, s.Changes)
	}
	return nil
}

// Remove has the store trust cert no longer.
func (s Store) Remove(cert *x509.Certificate) error {
	if err := truststore.Uninstall(cert, s.options...); err != nil {
		return s.failed(err)
	}
	if s.Traces(cert) {
		return fmt.Errorf("the %s store still holds the CA, under a name that agentproxy did not give it; remove it from %s by hand", s.Name, s.Changes)
	}
	return nil
}

// failed names the store in an error, and adds what a program that failed said
// last.
func (s Store) failed(err error) error {
	if e, ok := errors.AsType[*truststore.CmdError](err); ok {
		err = fmt.Errorf("%s: %w", strings.Join(e.Cmd().Args, " "), e.Err())
		if out := strings.TrimSpace(string(e.Out())); out != "" {
			err = fmt.Errorf("%w: %s", err, out[strings.LastIndex(out, "\n")+1:])
		}
	}
	return fmt.Errorf("change the %s store: %w", s.Name, err)
}
