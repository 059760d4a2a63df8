package doctor

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
)

// TestHasCA has proxies of this version and of earlier ones, which tell no fingerprint.
func TestHasCA(t *testing.T) {
	t.Parallel()
	expires := time.Date(2036, 11, 30, 3, 23, 3, 0, time.UTC)
	ca := &x509.Certificate{Raw: []byte("ours"), NotAfter: expires}
	other := certs.Fingerprint(&x509.Certificate{Raw: []byte("another")})
	for name, test := range map[string]struct {
		status admin.Status
		want   bool
	}{
		"the same":                 {admin.Status{CAFingerprint: certs.Fingerprint(ca), CAExpires: expires}, true},
		"another":                  {admin.Status{CAFingerprint: other, CAExpires: expires}, false},
		"the same, not told":       {admin.Status{CAExpires: expires.In(time.FixedZone("", 3600))}, true},
		"another, not told":        {admin.Status{CAExpires: expires.Add(time.Second)}, false},
		"a program that says none": {admin.Status{}, false},
	} {
		if got := hasCA(test.status, ca); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
