package truststore

import (
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smallstep/truststore"

	"github.com/agentproxy/agentproxy/certs"
)

// openSystem returns the directory of CAs that the distribution leaves to
// the machine's owner, with the program that makes the system's bundle of it.
func openSystem() (Store, error) {
	store := Store{name: systemName, holds: certs.SystemTrusts, traces: certs.SystemTrusts}
	if len(truststore.SystemTrustCommand) == 0 {
		store.fixed = fmt.Errorf("this system has no directory for further CAs; install the package ca-certificates, or choose --store %s", browsersName)
		return store, nil
	}
	program := truststore.SystemTrustCommand[0]
	store.changes = fmt.Sprintf("%s, and what %s makes of it", filepath.Dir(truststore.SystemTrustFilename), program)
	store.traces = func(cert *x509.Certificate) bool {
		_, err := os.Lstat(fmt.Sprintf(truststore.SystemTrustFilename, strings.ReplaceAll(storeName(cert), " ", "_")))
		return err == nil || certs.SystemTrusts(cert)
	}
	store.tidy = removeOrphans
	if !isInstalled(program) {
		store.fixed = fmt.Errorf("the system's store needs %s, which is not here; install the package ca-certificates, or choose --store %s", program, browsersName)
		return store, nil
	}
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("sudo"); err != nil {
			store.fixed = fmt.Errorf("only root can change the system's store, and there is no sudo; as root, set AGENTPROXY_STATE_DIR to the directory that the CA is in and run this again, or choose --store %s", browsersName)
		}
		store.changes += ", as root by way of sudo"
	}
	return store, nil
}

// removeOrphans removes the links to a certificate that was removed, which Debian's
// update-ca-certificates leaves in its directory unless it makes all links anew.
func removeOrphans(cert *x509.Certificate) error {
	name := filepath.Base(fmt.Sprintf(truststore.SystemTrustFilename, strings.ReplaceAll(storeName(cert), " ", "_")))
	if _, err := os.Lstat(filepath.Join("/etc/ssl/certs", strings.TrimSuffix(name, ".crt")+".pem")); err != nil {
		return nil
	}
	command := truststore.CommandWithSudo(truststore.SystemTrustCommand[0], "--fresh")
	if out, err := command.CombinedOutput(); err != nil {
		return truststore.NewCmdError(err, command, out)
	}
	return nil
}

// isInstalled also looks where only root and sudo do.
func isInstalled(program string) bool {
	return slices.ContainsFunc([]string{program, filepath.Join("/usr/sbin", program), filepath.Join("/sbin", program)}, func(path string) bool {
		_, err := exec.LookPath(path)
		return err == nil
	})
}
