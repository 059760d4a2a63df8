package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Certificates returns the certificates that a machine that trusts the CA in dir may hold:
// present has those of the CA and of a prepared one, and former those that were rotated
// away. It needs neither keys nor a CA that is still good, for it serves to clean up. A
// directory that does not exist has none.
func Certificates(dir string) (present, former []*x509.Certificate, err error) {
	s, err := newStore(dir)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, unreadable(dir, err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		isPresent := path == s.ca.cert || path == s.next.cert
		isFormer := strings.HasPrefix(entry.Name(), "ca-") && strings.HasSuffix(path, ".pem") && path != s.ca.key
		if !isPresent && !isFormer {
			continue
		}
		data, err := safefile.Read(path, maxFileSize)
		if err != nil {
			return nil, nil, unreadable(path, err)
		}
		cert, err := parseCertificate(data)
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w; restore it, or move it away", path, err)
		}
		if isPresent {
			present = append(present, cert)
		} else {
			former = append(former, cert)
		}
	}
	return present, former, nil
}

// SystemTrusts reports whether the system's own store holds the CA cert, whatever variables
// such as SSL_CERT_FILE say.
func SystemTrusts(cert *x509.Certificate) bool {
	if runtime.GOOS != "darwin" && runtime.GOOS != "windows" {
		return filesHold(cert, rootFiles[:])
	}
	// There the store is no file. Package x509 asks the system.
	roots, err := x509.SystemCertPool()
	if err != nil {
		return false
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// SystemPool returns a pool of the roots of [SystemRoots]. It reads one file, while
// [x509.SystemCertPool] also reads each file of a directory. On macOS and Windows, where roots
// are no files, and if SystemRoots fails, it returns the pool of crypto/x509.
func SystemPool(getenv func(string) string) (*x509.CertPool, error) {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return x509.SystemCertPool()
	}
	roots, _, err := SystemRoots(getenv)
	if err != nil {
		return x509.SystemCertPool()
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots.PEM())
	return pool, nil
}

// filesHold reports whether the first of the files that can be read holds cert.
func filesHold(cert *x509.Certificate, files []string) bool {
	for _, file := range files {
		data, err := safefile.Read(file, maxBundleSize)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" && bytes.Equal(block.Bytes, cert.Raw) {
				return true
			}
		}
		return false
	}
	return false
}
