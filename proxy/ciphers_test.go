package proxy

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// Over TLS 1.2 a client gets an AEAD cipher or none. Those in CBC mode, which
// padding oracles were found in time and again, are refused.
func TestNoCBC(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	taken := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] > tls.VersionTLS12 {
			continue
		}
		client := tls.Client(p.connect(t, proxytest.Host+":443").Conn, &tls.Config{
			RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID},
		})
		err := client.Handshake()
		aead := strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_POLY1305_")
		switch {
		case err != nil:
		case !aead:
			t.Errorf("%s was taken", suite.Name)
		default:
			taken++
		}
	}
	if taken != 3 { // with a certificate for ECDSA
		t.Errorf("%d AEAD ciphers were taken, want 3", taken)
	}
}
