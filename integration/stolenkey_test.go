//go:build linux

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A purpose is what a certificate is shown for, in the words of those who verify it.
// "" is said by one who knows no such purpose.
type purpose struct {
	oid     asn1.ObjectIdentifier // of the extended key usage
	eku     x509.ExtKeyUsage
	openssl string
	nss     string // vfychain -u
}

var (
	forServer  = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, x509.ExtKeyUsageServerAuth, "sslserver", "1"}
	forClient  = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}, x509.ExtKeyUsageClientAuth, "sslclient", "0"}
	forCode    = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}, x509.ExtKeyUsageCodeSigning, "", "6"}
	forMail    = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}, x509.ExtKeyUsageEmailProtection, "smimesign", "4"}
	forMailTo  = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}, x509.ExtKeyUsageEmailProtection, "smimeencrypt", "5"}
	forTime    = purpose{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, x509.ExtKeyUsageTimeStamping, "timestampsign", ""}
	anyPurpose = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	smartCard  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2} // a log-on to Windows
	pkinit     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 2, 3, 4}          // and to Kerberos, RFC 4556
	alice      = pkix.Name{CommonName: "Alice", Organization: []string{"Example"}}
)

// stolen is a CA whose files a thief has.
type stolen struct {
	home             string // of the user who trusts it
	caFile, database string
	roots            *x509.CertPool
	issuer           *x509.Certificate
	key, leafKey     *ecdsa.PrivateKey
	more             moreVerdicts
}

// moreVerdicts asks verifiers that not all machines have, by files of the CA and of a
// chain. nil: there are none.
type moreVerdicts func(t *testing.T, p purpose, ca, chain string) map[string]bool

// steal has agentproxy make a CA, the machine trust it as agentproxy ca install
// does, and takes its files.
func steal(t *testing.T) *stolen {
	t.Helper()
	dir := t.TempDir()
	environ := append(baseEnv(t), "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s := &stolen{home: dir, caFile: filepath.Join(dir, "agentproxy", "ca", "ca.pem"), database: "sql:" + filepath.Join(dir, ".pki", "nssdb"), roots: x509.NewCertPool(), more: newMoreVerdicts(t)}
	if err := os.MkdirAll(filepath.Join(dir, ".pki", "nssdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustRun(t, environ, systemProgram(t, "certutil"), "-N", "--empty-password", "-d", s.database)
	mustRun(t, environ, agentproxy, "ca", "install", "--store", "browsers", "--yes")

	s.roots.AppendCertsFromPEM([]byte(readFile(t, s.caFile)))
	for rest := []byte(readFile(t, filepath.Join(filepath.Dir(s.caFile), "ca-key.pem"))); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatal("ca-key.pem is not PEM")
		}
		var err error
		if block.Type == "CERTIFICATE" {
			s.issuer, err = x509.ParseCertificate(block.Bytes)
		} else {
			var key any
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
			s.key, _ = key.(*ecdsa.PrivateKey)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.leafKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return s
}

// forge makes a certificate with the stolen key.
func (s *stolen) forge(t *testing.T, template x509.Certificate, critical bool, purposes ...asn1.ObjectIdentifier) *x509.Certificate {
	t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	template.BasicConstraintsValid = true
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if len(purposes) > 0 {
		usage, err := asn1.Marshal(purposes)
		if err != nil {
			t.Fatal(err)
		}
		template.ExtraExtensions = append(slices.Clone(template.ExtraExtensions),
			pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: usage})
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, s.issuer, &s.leafKey.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verdicts asks all who verify whether they take a chain, the certificate first,
// for a purpose.
func (s *stolen) verdicts(t *testing.T, p purpose, chain ...*x509.Certificate) map[string]bool {
	t.Helper()
	environ, dir := baseEnv(t), t.TempDir()
	file := filepath.Join(dir, "chain.pem")
	var all []byte
	nss := []string{"-d", s.database, "-u", p.nss}
	intermediates := x509.NewCertPool()
	for i, cert := range chain {
		encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
		all = append(all, encoded...)
		single := filepath.Join(dir, strconv.Itoa(i))
		writeFile(t, single, encoded)
		nss = append(nss, "-a", single)
		if i > 0 {
			intermediates.AddCert(cert)
		}
	}
	writeFile(t, file, all)

	options := x509.VerifyOptions{Roots: s.roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{p.eku}}
	if p.eku == forServer.eku && len(chain[0].DNSNames) == 0 {
		options.DNSName = chain[0].Subject.CommonName // the only name that a client could look for
	}
	_, err := chain[0].Verify(options)
	took := map[string]bool{
		"Go": err == nil,
		"GnuTLS": run(t, environ, systemProgram(t, "certtool"), "--verify", "--load-ca-certificate", s.caFile,
			"--verify-purpose", p.oid.String(), "--infile", file).code == 0,
	}
	if p.openssl != "" {
		took["OpenSSL"] = run(t, environ, systemProgram(t, "openssl"), "verify", "-purpose", p.openssl,
			"-CAfile", s.caFile, "-untrusted", file, file).code == 0
	}
	if p.nss != "" {
		took["NSS"] = run(t, environ, systemProgram(t, "vfychain"), nss...).code == 0
	}
	if s.more != nil {
		maps.Copy(took, s.more(t, p, s.caFile, file))
	}
	return took
}

// TestStolenKey shows Go, OpenSSL, GnuTLS, NSS and, in make verifiers, Java what a thief of the CA's files can
// make. They must take it for a TLS server of the hosts, and for nothing else.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	s := steal(t)
	dns := func(names ...string) x509.Certificate { return x509.Certificate{DNSNames: names} }
	address := func(ip string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, IPAddresses: []net.IP{net.ParseIP(ip)}}
	}
	mail := func(address string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, EmailAddresses: []string{address}}
	}
	uri := func(host string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, URIs: []*url.URL{{Scheme: "https", Host: host, Path: "/"}}}
	}
	host, person := dns("chatgpt.com"), x509.Certificate{Subject: alice}
	hostAndPerson := x509.Certificate{Subject: alice, DNSNames: []string{"chatgpt.com"}}
	card := x509.Certificate{Subject: alice, ExtraExtensions: []pkix.Extension{userPrincipalName(t, "alice@example.com")}}

	// Java looks for a purpose in the last certificate only.
	javaOnly := []string{"Java"}
	for name, test := range map[string]struct {
		template x509.Certificate
		purposes []asn1.ObjectIdentifier // in the certificate
		shown    purpose                 // what it is shown for
		takenBy  []string
	}{
		"host":                      {host, []asn1.ObjectIdentifier{forServer.oid}, forServer, []string{"GnuTLS", "Go", "Java", "NSS", "OpenSSL"}},
		"subdomain":                 {dns("a.b.chatgpt.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, []string{"GnuTLS", "Go", "Java", "NSS", "OpenSSL"}},
		"host, no purpose":          {host, nil, forServer, []string{"GnuTLS", "Go", "Java", "NSS", "OpenSSL"}},
		"another host":              {dns("example.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"host and another":          {dns("chatgpt.com", "example.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"sibling":                   {dns("auth.openai.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"look-alike":                {dns("evilchatgpt.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"parent":                    {dns("com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"wildcard of the parent":    {dns("*.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"IPv4 address":              {address("192.0.2.1"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"IPv6 address":              {address("2001:db8::1"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"client, host":              {host, []asn1.ObjectIdentifier{forClient.oid}, forClient, javaOnly},
		"client, person":            {person, []asn1.ObjectIdentifier{forClient.oid}, forClient, nil},
		"client, host and person":   {hostAndPerson, []asn1.ObjectIdentifier{forClient.oid}, forClient, javaOnly},
		"client and server":         {host, []asn1.ObjectIdentifier{forServer.oid, forClient.oid}, forClient, javaOnly},
		"client, any purpose":       {host, []asn1.ObjectIdentifier{anyPurpose}, forClient, javaOnly},
		"client, no purpose":        {host, nil, forClient, javaOnly},
		"client, mail":              {mail("alice@example.com"), []asn1.ObjectIdentifier{forClient.oid}, forClient, nil},
		"code":                      {host, []asn1.ObjectIdentifier{forCode.oid}, forCode, nil},
		"code, person":              {person, []asn1.ObjectIdentifier{forCode.oid}, forCode, nil},
		"code and server":           {host, []asn1.ObjectIdentifier{forServer.oid, forCode.oid}, forCode, nil},
		"code, any purpose":         {person, []asn1.ObjectIdentifier{anyPurpose}, forCode, nil},
		"code, no purpose":          {person, nil, forCode, nil},
		"signed mail":               {mail("alice@example.com"), []asn1.ObjectIdentifier{forMail.oid}, forMail, nil},
		"signed mail of the domain": {mail("alice@chatgpt.com"), []asn1.ObjectIdentifier{forMail.oid}, forMail, nil},
		"signed mail to nowhere":    {mail("alice@invalid"), []asn1.ObjectIdentifier{forMail.oid}, forMail, nil},
		"signed mail below nowhere": {mail("alice@a.invalid"), []asn1.ObjectIdentifier{forMail.oid}, forMail, nil},
		"signed mail, person":       {person, []asn1.ObjectIdentifier{forMail.oid}, forMail, nil},
		"encrypted mail, person":    {x509.Certificate{Subject: alice, KeyUsage: x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement}, []asn1.ObjectIdentifier{forMail.oid}, forMailTo, nil},
		// OpenSSL, and it alone, looks for this purpose in the last certificate only.
		"time":                       {host, []asn1.ObjectIdentifier{forTime.oid}, forTime, []string{"OpenSSL"}},
		"time, person":               {person, []asn1.ObjectIdentifier{forTime.oid}, forTime, []string{"OpenSSL"}},
		"time, another host":         {dns("example.com"), []asn1.ObjectIdentifier{forTime.oid}, forTime, nil},
		"smart card":                 {card, []asn1.ObjectIdentifier{smartCard, forClient.oid}, forClient, nil},
		"smart card, Kerberos":       {card, []asn1.ObjectIdentifier{pkinit}, forClient, nil},
		"smart card, any purpose":    {card, []asn1.ObjectIdentifier{anyPurpose}, forClient, nil},
		"smart card, signature":      {card, []asn1.ObjectIdentifier{smartCard, forMail.oid}, forMail, nil},
		"server as a client's":       {host, []asn1.ObjectIdentifier{forClient.oid}, forServer, nil},
		"URI":                        {uri("example.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"URI in the domain":          {uri("chatgpt.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"URI to nowhere":             {uri("invalid"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"server, mail of the domain": {mail("a@chatgpt.com"), []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
		"name in the subject":        {x509.Certificate{Subject: pkix.Name{CommonName: "example.com"}}, []asn1.ObjectIdentifier{forServer.oid}, forServer, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := s.forge(t, test.template, test.shown.eku == forTime.eku, test.purposes...)
			for who, took := range s.verdicts(t, test.shown, cert, s.issuer) {
				if took != slices.Contains(test.takenBy, who) {
					t.Errorf("%s took it: %t", who, took)
				}
			}
		})
	}

	// A CA of the thief's own, which knows no bounds.
	below := *s
	below.issuer = s.forge(t, x509.Certificate{Subject: alice, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, false)
	below.key = s.leafKey
	for name, p := range map[string]purpose{"server": forServer, "client": forClient, "code": forCode} {
		for who, took := range s.verdicts(t, p, below.forge(t, dns("www.chatgpt.com"), false, p.oid), below.issuer, s.issuer) {
			if took {
				t.Errorf("%s by another CA: %s took it", name, who)
			}
		}
	}
}

// userPrincipalName is an alternative name by which smart cards log on to Windows.
func userPrincipalName(t *testing.T, name string) pkix.Extension {
	t.Helper()
	type otherName struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"explicit,tag:0,utf8"`
	}
	encoded, err := asn1.Marshal(struct {
		Name otherName `asn1:"tag:0"`
	}{otherName{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, name}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: encoded}
}

// makeEarlierCA gives the proxy a CA as earlier versions made it, whose key is that
// of ca.pem, for whatever purpose.
func (f *fixture) makeEarlierCA(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "agentproxy CA 01234567"},
		NotBefore:                   time.Now().Add(-time.Hour),
		NotAfter:                    time.Now().AddDate(9, 0, 0),
		KeyUsage:                    x509.KeyUsageCertSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"chatgpt.com", "chat.openai.com", "chatgpt-staging.com"},
		ExcludedIPRanges: []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.stateDir, "ca")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	writeFile(t, filepath.Join(dir, "ca-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encodedKey}))
}

// TestEarlierCA has the proxy go on with a CA of earlier versions, say what is to
// be gained by another, and replace it without a client noticing.
func TestEarlierCA(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.makeEarlierCA(t)
	earlier := readFile(t, filepath.Join(f.stateDir, "ca", "ca.pem"))
	p := f.serve(t)
	ask := func(environ []string) {
		t.Helper()
		if r := curl(t, environ, backendAPI+"/codex/models?client_version=0.0.0"); r.Code != 200 {
			t.Errorf("status %d\n%s", r.Code, r.stderr)
		}
	}
	ca := func(args ...string) string {
		t.Helper()
		return mustRun(t, baseEnv(t), agentproxy, append(append([]string{"ca"}, args...), "--config", f.config)...)
	}
	const hint = "good for TLS servers alone"
	check := func() string { return run(t, baseEnv(t), agentproxy, "check", "--config", f.config).stdout }

	ask(p.clientEnv(t))
	if got := readFile(t, filepath.Join(f.stateDir, "ca", "ca.pem")); got != earlier {
		t.Error("the CA was replaced, which clients trust")
	}
	if got := check(); !strings.Contains(got, hint) || !strings.Contains(got, "agentproxy ca rotate --prepare") {
		t.Errorf("check says nothing of it:\n%s", got)
	}
	if got := ca("show"); !strings.Contains(got, hint) {
		t.Errorf("ca show says nothing of it:\n%s", got)
	}

	ca("rotate", "--prepare")
	environ := p.clientEnv(t) // which trusts both
	ask(environ)
	ca("rotate")
	p.hangUpOnce(t)
	eventually(t, "the new CA", func() bool {
		return curl(t, environ, "--cacert", filepath.Join(f.stateDir, "ca", "ca.pem"), backendAPI+"/codex/models?client_version=0.0.0").Code == 200
	})
	ask(environ)
	if got := check() + ca("show"); strings.Contains(got, hint) {
		t.Errorf("of the new CA it is said:\n%s", got)
	}
}
