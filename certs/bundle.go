package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Roots are root certificates, once each. CAs made by this package are not among them.
type Roots struct {
	pem  []byte
	seen map[[sha256.Size]byte]bool
}

// PEM returns the certificates in PEM.
func (r Roots) PEM() []byte { return r.pem }

// With returns r with the certificates in data, which is PEM, and how many data holds that
// this package has not made.
func (r Roots) With(data []byte) (Roots, int) {
	more := Roots{slices.Clone(r.pem), maps.Clone(r.seen)}
	kept, _ := more.add(data)
	return more, kept
}

// Bundle returns roots and the CA in PEM, for the file of a variable such as SSL_CERT_FILE,
// which replaces the system's roots.
func (a *Authority) Bundle(roots Roots) []byte { return slices.Concat(roots.PEM(), a.PEM()) }

// The usual places of root certificates, as in crypto/x509. The first of the files is used,
// and the directories only if there is none.
var (
	rootFiles = [...]string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Gentoo, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL 6
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS, RHEL 7
		"/etc/ssl/cert.pem",                                 // Alpine, macOS, OpenBSD
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/usr/local/share/certs/ca-root-nss.crt",            // DragonFly
		"/etc/openssl/certs/ca-certificates.crt",            // NetBSD
	}
	rootDirs = [...]string{
		"/etc/ssl/certs",               // SLES, FreeBSD 12.2
		"/etc/pki/tls/certs",           // Fedora, RHEL
		"/usr/local/share/certs",       // FreeBSD
		"/etc/openssl/certs",           // NetBSD
		"/system/etc/security/cacerts", // Android
	}
)

// SystemRoots returns the machine's root certificates and the file or directory that they
// are from. As in OpenSSL and Go, SSL_CERT_FILE replaces the usual file, and the
// certificates in the directories of SSL_CERT_DIR are added. It calls getenv for the two
// variables.
//
// CAs made by this package are left out: a bundle that is made in the environment of an
// earlier bundle must not keep a CA that was rotated away. If SSL_CERT_FILE holds nothing
// else, the usual file is read.
func SystemRoots(getenv func(string) string) (roots Roots, path string, err error) {
	return systemRoots(getenv("SSL_CERT_FILE"), getenv("SSL_CERT_DIR"), rootFiles[:], rootDirs[:])
}

func systemRoots(file, dirs string, usualFiles, usualDirs []string) (roots Roots, path string, err error) {
	if file != "" {
		data, err := safefile.Read(file, maxBundleSize)
		if err != nil {
			return Roots{}, "", fmt.Errorf("SSL_CERT_FILE: %w; correct the variable or unset it", err)
		}
		kept, own := roots.add(data)
		if kept+own == 0 {
			// Not to fall back: trusting nobody may be what was meant.
			return Roots{}, "", fmt.Errorf("SSL_CERT_FILE: read %s: no PEM certificate in it; correct the variable or unset it", file)
		}
		if kept > 0 {
			path = file
		}
	}
	for _, usual := range usualFiles {
		if path != "" {
			break
		}
		data, err := safefile.Read(usual, maxBundleSize)
		if err != nil {
			continue
		}
		if kept, _ := roots.add(data); kept > 0 {
			path = usual
		}
	}
	list := filepath.SplitList(dirs)
	if dirs == "" && path == "" {
		list = usualDirs
	}
	for _, dir := range list {
		if roots.addDir(dir) > 0 && path == "" {
			path = dir
		}
	}
	if path == "" {
		return Roots{}, "", errors.New("no root certificates on this machine; install the package ca-certificates, or set SSL_CERT_FILE")
	}
	return roots, path, nil
}

// maxBundleSize bounds a file of other people's certificates, in bytes.
const maxBundleSize = 16 << 20

// add adds the certificates in data. It returns how many it kept, and how many it left out
// because this package made them.
func (r *Roots) add(data []byte) (kept, own int) {
	r.pem = slices.Grow(r.pem, len(data))
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return kept, own
		}
		// OpenSSL also writes TRUSTED CERTIFICATE and X509 CERTIFICATE.
		if !strings.HasSuffix(block.Type, "CERTIFICATE") {
			continue
		}
		if madeHere(block.Bytes) {
			own++
			continue
		}
		kept++
		sum := sha256.Sum256(block.Bytes)
		if r.seen[sum] {
			continue
		}
		if r.seen == nil {
			r.seen = make(map[[sha256.Size]byte]bool)
		}
		r.seen[sum] = true
		r.pem = appendPEM(r.pem, block)
	}
}

// appendPEM appends a block without its headers, as pem.Encode does, at a fraction of the
// cost: a machine has some 140 roots.
func appendPEM(to []byte, block *pem.Block) []byte {
	const line = 48 // bytes, that is 64 characters
	to = fmt.Appendf(to, "-----BEGIN %s-----\n", block.Type)
	for der := range slices.Chunk(block.Bytes, line) {
		to = append(base64.StdEncoding.AppendEncode(to, der), '\n')
	}
	return fmt.Appendf(to, "-----END %s-----\n", block.Type)
}

// addDir adds the certificates of the files in dir, and returns how many it kept. Like
// OpenSSL it ignores what it cannot read.
func (r *Roots) addDir(dir string) (kept int) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		data, err := safefile.Read(filepath.Join(dir, entry.Name()), maxBundleSize)
		if err != nil {
			continue
		}
		n, _ := r.add(data)
		kept += n
	}
	return kept
}

// HoldsOwn reports whether data, which is PEM, holds a CA made by this package.
func HoldsOwn(data []byte) bool {
	_, own := new(Roots).add(data)
	return own > 0
}

// madeHere reports whether a certificate is that of a CA made by this package.
func madeHere(der []byte) bool {
	if !bytes.Contains(der, []byte(commonName)) {
		return false // most are not, and this is cheaper than to parse them
	}
	cert, err := x509.ParseCertificate(der)
	return err == nil && strings.HasPrefix(cert.Subject.CommonName, commonName)
}
