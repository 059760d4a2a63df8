// Package localguard has the parts of the question whether a request that reaches
// a local port was sent by whom it should be: could a web page have made a browser
// send it, and is the token that came with it the right one?
//
// Each port has a policy of its own, made of these parts: the proxy's refuses all
// that is not sent as to a proxy, the gateways' refuses every browser, and the
// admin port's refuses pages of other sites.
package localguard

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// Digest is the hash of a token. Digests are compared in place of tokens, so that
// a comparison takes the same time for every guess, whatever its length.
type Digest [sha256.Size]byte

// DigestOf returns the digest of token.
func DigestOf(token string) Digest { return sha256.Sum256([]byte(token)) }

// Equal reports in constant time whether d and other are digests of one token.
func (d Digest) Equal(other Digest) bool { return subtle.ConstantTimeCompare(d[:], other[:]) == 1 }

// TokenIs reports whether the token that was shown is want. The time that it takes
// tells nothing about want.
func TokenIs(shown, want string) bool { return DigestOf(shown).Equal(DigestOf(want)) }

// OverUnixSocket reports whether r came over a Unix socket, which no browser
// connects to.
func OverUnixSocket(r *http.Request) bool {
	_, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return ok
}

// HostAddr returns the address that r's Host field names, for localhost that of
// loopback. It reports false for any other name: a page whose own name was made to
// lead here (DNS rebinding) names the server by that.
func HostAddr(r *http.Request) (addr netip.Addr, ok bool) {
	host := (&url.URL{Host: r.Host}).Hostname()
	if host == "localhost" {
		return netip.IPv6Loopback(), true
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// FromBrowser reports whether h has a field by which browsers tell about the page
// that a request is sent for: Origin (RFC 6454, section 7) or one of W3C Fetch
// Metadata. Other clients do not send them on their own account.
func FromBrowser(h http.Header) bool {
	return h["Origin"] != nil || h["Sec-Fetch-Site"] != nil || h["Sec-Fetch-Mode"] != nil
}

// ForeignPage returns the field, and its value, by which a browser says that it
// sends a request for a page of another site: an Origin that own does not know, or a
// Sec-Fetch-Site that is neither same-origin nor none, which stands for an address
// that the user typed. A page of the same site counts as foreign unless its origin
// is known too, for other names of a site may dangle. field is "" if no other site's
// page is told of.
func ForeignPage(origins, sites []string, own func(origin string) bool) (field, value string) {
	for _, origin := range origins {
		if !own(origin) {
			return "Origin", origin
		}
	}
	for _, site := range sites {
		switch {
		case site == "same-origin", site == "none", site == "same-site" && len(origins) > 0:
		default:
			return "Sec-Fetch-Site", site
		}
	}
	return "", ""
}
