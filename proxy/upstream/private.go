package upstream

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// privatePrefixes are the addresses that are not on the public Internet (IANA
// special-purpose registries, RFC 6890). The proxy does not connect to them, because
// anybody's name server can give them for a name.
var privatePrefixes = parsePrefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private, RFC 1918
	"100.64.0.0/10",    // carrier-grade NAT, RFC 6598
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // the host of a virtual machine at Azure
	"169.254.0.0/16",   // link-local, where clouds serve their metadata
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments, Teredo
	"2001:db8::/32",    // documentation
	"3fff::/20",        // documentation
)

// fakePrefixes are the networks from which VPN and proxy clients make up addresses:
// they answer a name with one, and know by it later which server is meant. Clash and
// Surge use the first, sing-box uses both. Neither is anybody's network: the first is
// for benchmarks, the second is unassigned (RFC 4193, section 3.1).
var fakePrefixes = parsePrefixes("198.18.0.0/15", "fc00::/18")

var (
	global = netip.MustParsePrefix("2000::/3")     // global unicast, RFC 4291, 2.4
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

// isPrivate reports whether addr, or the IPv4 address inside it, is not on the public
// Internet. Of IPv6, that is every address that IANA has not assigned to networks.
func isPrivate(addr netip.Addr) bool {
	addr = addr.WithZone("")
	public := global.Contains(addr) || nat64.Contains(addr) || addr.Unmap().Is4()
	return !public || containsAddr(privatePrefixes, embeddedIPv4(addr))
}

// isFakeIP reports whether addr is usually made up by a VPN or proxy client.
func isFakeIP(addr netip.Addr) bool {
	return containsAddr(fakePrefixes, addr.WithZone("").Unmap())
}

// checkPublic returns a [*PrivateAddressError] for an address that is not public, or is
// that of one of this machine's interfaces: a server there may trust local clients.
func checkPublic(addr netip.Addr, interfaces func() ([]net.Addr, error)) error {
	plain := addr.WithZone("").Unmap()
	switch {
	case isFakeIP(plain):
		return &PrivateAddressError{plain, "is usually a fake IP, made up by a VPN or proxy client (Clash, sing-box, Surge) on the way to the name servers"}
	case isPrivate(plain):
		return &PrivateAddressError{plain, "is not an address of the public Internet"}
	case isOwnAddress(embeddedIPv4(plain), interfaces):
		return &PrivateAddressError{plain, "is an address of this machine"}
	}
	return nil
}

// isOwnAddress reports whether one of the interfaces has the address. If a sandbox hides
// the interfaces, it asks the kernel what it would send from: that is the address itself
// if it is the machine's first.
func isOwnAddress(addr netip.Addr, interfaces func() ([]net.Addr, error)) bool {
	all, err := interfaces()
	if err == nil {
		return hasAddress(all, addr)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9))) // sends nothing
	if err != nil {
		return false // nor can TCP connect to it
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap() == addr
}

// hasAddress reports whether addr is one of the addresses of interfaces.
func hasAddress(all []net.Addr, addr netip.Addr) bool {
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().WithZone("").Unmap() == addr
	})
}

func containsAddr(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// embeddedIPv4 returns the IPv4 address that packets to addr arrive at, or addr itself.
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

// PrivateAddressError is the error of a connection to an address that is not public.
type PrivateAddressError struct {
	addr netip.Addr
	what string // what is wrong with it
}

// Error returns the address, what is wrong with it, and how to allow it.
func (e *PrivateAddressError) Error() string {
	return fmt.Sprintf("%s %s; to allow it, list it in upstream.allow_private, or name it in upstream.connect_to", e.addr, e.what)
}
