package certs_test

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/agentproxy/agentproxy/certs"
)

// An authority is made when it is first opened. Its leaves are good for the hosts that
// it was made for, and for no others.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ca, err := certs.Open(certs.Config{Dir: dir, Hosts: []string{"*.example.com"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	leaf, err := ca.Leaf("api.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}

	// A client that trusts the CA takes the leaf and the issuer that comes with it.
	roots, issuers := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	for _, der := range leaf.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			fmt.Println(err)
			return
		}
		issuers.AddCert(issuer)
	}
	_, err = leaf.Leaf.Verify(x509.VerifyOptions{DNSName: "api.example.com", Roots: roots, Intermediates: issuers})
	fmt.Println(leaf.Leaf.DNSNames, err)

	fmt.Println(ca.Covers("example.org"))
	// Output:
	// [api.example.com] <nil>
	// false
}
