package certs

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// constrain adds critical name constraints to a CA's template. They permit the DNS names in
// domains and those below them, and nothing else of any kind that RFC 5280, section 4.2.1.10
// can express.
//
// Addresses are excluded as a whole. Mail and URIs cannot be, for the empty constraint
// excludes everything to Go and nothing to OpenSSL 3. For these one name is both permitted,
// which refuses all others, and excluded, which refuses it too. It is a top-level domain
// that cannot exist (RFC 2606).
func constrain(template *x509.Certificate, domains []string) {
	nowhere := []string{"invalid"}
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains = domains
	template.ExcludedIPRanges = []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
	template.PermittedEmailAddresses, template.ExcludedEmailAddresses = nowhere, nowhere
	template.PermittedURIDomains, template.ExcludedURIDomains = nowhere, nowhere
}

// excludesAddresses reports whether the name constraints of cert exclude all addresses. Those
// on DNS names say nothing about them.
func excludesAddresses(cert *x509.Certificate) bool {
	for _, length := range [...]int{net.IPv4len, net.IPv6len} {
		if !slices.ContainsFunc(cert.ExcludedIPRanges, func(r *net.IPNet) bool {
			ones, bits := r.Mask.Size()
			return ones == 0 && bits == 8*length
		}) {
			return false
		}
	}
	return true
}

// Covers reports whether the CA's name constraints permit a certificate for
// host, a DNS name without port. Case does not matter.
func (a *Authority) Covers(host string) bool {
	return covers(a.domains, strings.ToLower(host))
}

// covers reports whether host, in lower case, is one of domains or below one.
func covers(domains []string, host string) bool {
	return isDNSName(host) && slices.ContainsFunc(domains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// permitted returns the DNS names of cert's name constraints in lower case.
func permitted(cert *x509.Certificate) []string {
	domains := make([]string, len(cert.PermittedDNSDomains))
	for i, domain := range cert.PermittedDNSDomains {
		domains[i] = strings.ToLower(domain)
	}
	return domains
}

// baseDomains returns the domains of host patterns, each once: both
// "example.com" and "*.example.com" give "example.com".
func baseDomains(patterns []string) ([]string, error) {
	var domains []string
	for _, pattern := range patterns {
		domain := strings.TrimPrefix(strings.ToLower(pattern), "*.")
		if !isDNSName(domain) {
			return nil, fmt.Errorf("host pattern %q: not a DNS name; write example.com or *.example.com", pattern)
		}
		if !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	return domains, nil
}

// isDNSName reports whether s is a lower-case host name that can stand in a
// certificate: letters, digits, hyphens and underscores, no trailing dot, and
// not an IP address.
func isDNSName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	_, err := netip.ParseAddr(s)
	return err != nil
}
