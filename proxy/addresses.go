package proxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// privatePrefixes are the addresses that do not lead to the public Internet
// (IANA special-purpose registries, RFC 6890), and so may not be reached
// through a proxy that anybody's name server can send there.
var privatePrefixes = parsePrefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private, RFC 1918
	"100.64.0.0/10",   // carrier-grade NAT, RFC 6598
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, where clouds serve their metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast
	"::/127",          // unspecified and loopback
	"64:ff9b:1::/48",  // local NAT64, RFC 8215
	"100::/64",        // discard
	"2001::/23",       // protocol assignments, Teredo
	"2001:db8::/32",   // documentation
	"3fff::/20",       // documentation
	"fc00::/7",        // unique local, among them fd00:ec2::254
	"fe80::/10",       // link-local
	"fec0::/10",       // site-local
	"ff00::/8",        // multicast
)

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
	compat = netip.MustParsePrefix("::/96")        // RFC 4291, 2.5.5.1
)

func parsePrefixes(list ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(list))
	for i, s := range list {
		prefixes[i] = netip.MustParsePrefix(s)
	}
	return prefixes
}

// isPrivate reports whether addr, or the IPv4 address inside it, is not an
// address of the public Internet.
func isPrivate(addr netip.Addr) bool {
	addr = embeddedIPv4(addr.WithZone(""))
	return containsAddr(privatePrefixes, addr)
}

func containsAddr(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// embeddedIPv4 returns the IPv4 address that packets to addr end up at, or
// addr itself.
func embeddedIPv4(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixTo4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case compat.Contains(addr) && binary.BigEndian.Uint32(b[12:]) > 1:
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// privateAddressError says that a name led to an address that is not public.
type privateAddressError struct{ addr netip.Addr }

func (e *privateAddressError) Error() string {
	return fmt.Sprintf("%s is not an address of the public Internet; to allow it, list it in upstream.allow_private, or name it in upstream.connect_to", e.addr)
}
