package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func TestIsPrivate(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
		"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::a00:1", "::808:808", // the last three are IPv4-compatible
		"168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", // Azure's host
		"::ffff:0:808:808", "::ffff:0:7f00:1", // IPv4-translated
		"1000::1", "4000::1", "5f00::1", "5fff::1", "8000::1", "c000::1", "e000::1", // not assigned, or for segment routing
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", // IPv4-mapped
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", // NAT64
		"2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", // 6to4
		"2001::1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "100::1", // Teredo and the like
		"fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		if !isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s may be connected to", s)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "198.17.255.255", "198.20.0.0",
		"223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2606:4700::1111", "2a00::1", "168.63.129.15", "3ffe::1",
	} {
		if isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s may not be connected to", s)
		}
	}
}

// TestOwnAddresses knows the addresses of this machine, if the list of interfaces
// cannot be had too.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	hidden := func() ([]net.Addr, error) { return nil, errors.New("operation not permitted") }
	for _, s := range proxytest.OwnAddresses(t) {
		addr := netip.MustParseAddr(s)
		if !isOwnAddress(addr, net.InterfaceAddrs) {
			t.Errorf("%s is not known to be this machine's", addr)
		}
	}
	if !isOwnAddress(netip.MustParseAddr("127.0.0.1"), hidden) {
		t.Error("127.0.0.1 is not known to be this machine's by what it sends from")
	}
	for name, interfaces := range map[string]func() ([]net.Addr, error){"listed": net.InterfaceAddrs, "hidden": hidden} {
		if isOwnAddress(netip.MustParseAddr("8.8.8.8"), interfaces) {
			t.Errorf("%s: 8.8.8.8 is taken for this machine's", name)
		}
	}
}

// TestOwnAddressRefused refuses public addresses of this machine, unless they are
// allowed.
func TestOwnAddressRefused(t *testing.T) {
	t.Parallel()
	interfaces := func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("8.8.4.4"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2606:4700::1"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	for _, allow := range []bool{false, true} {
		config := Config{}
		if allow {
			config.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("8.8.4.4/32"), netip.MustParsePrefix("2606:4700::/64")}
		}
		d := newDialer(config, new(OwnListeners))
		d.interfaces = interfaces
		for address, own := range map[string]bool{
			"8.8.4.4:443": true, "[::ffff:8.8.4.4]:443": true, "[2606:4700::1]:80": true, "8.8.4.5:443": false, "[2606:4700::2]:443": false,
		} {
			for _, by := range []net.Dialer{d.guarded, d.proven} {
				err := by.Control("tcp", address, nil)
				if want := own && !allow; (err != nil) != want || want && !strings.Contains(err.Error(), "is an address of this machine") {
					t.Errorf("%s, allowed: %v: %v", address, allow, err)
				}
			}
		}
	}
}
