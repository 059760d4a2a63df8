package hosts

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Target is the authority that a client asked for, in a CONNECT or in the absolute URL
// of a plain request. What follows goes there and nowhere else.
type Target struct {
	Host string // lower case, no brackets
	Port string
}

// maxAuthority is more than the bytes of any host and port (RFC 1035, section 2.3.4).
const maxAuthority = 300

// ParseTarget parses host:port. It refuses spellings that one program takes for a name
// and another for an address, or that hide a name from a pattern.
func ParseTarget(authority string) (Target, error) {
	if strings.Contains(authority, "@") { // a password, perhaps, which must not be shown
		return Target{}, errors.New("the target has a user name in it; leave it out")
	}
	if len(authority) > maxAuthority {
		return Target{}, fmt.Errorf("a target of %d bytes is none: the name of a host has 253 at most", len(authority))
	}
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not host:port", authority)
	}
	if strings.HasPrefix(authority, "[") && !strings.Contains(host, ":") {
		return Target{}, fmt.Errorf("%q has brackets around something that is not an IPv6 address", authority)
	}
	if err := checkPort(port); err != nil {
		return Target{}, err
	}
	host = strings.ToLower(host)
	if err := checkHost(host); err != nil {
		return Target{}, err
	}
	return Target{host, port}, nil
}

// checkHost returns an error unless host is a DNS name in ASCII or an IP address, in
// its canonical spelling.
func checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("address %q has a zone", host)
		}
		if usual := addr.String(); usual != host {
			return fmt.Errorf("address %q is not in its usual form; write it as %s", host, usual)
		}
		return nil
	}
	if host == "" {
		return errors.New("the host is empty")
	}
	if len(host) > 253 {
		return errors.New("the host name is longer than 253 bytes")
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return fmt.Errorf("host %q has an empty label or ends with a dot", host)
		}
		if len(label) > 63 {
			return fmt.Errorf("host %q has a label longer than 63 bytes", host)
		}
		for i := range len(label) {
			if c := label[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return fmt.Errorf("host %q is not a DNS name: it has %q", host, c)
			}
		}
		last = label
	}
	// "127.1", "0x7f000001" and "2130706433" are addresses to inet_aton(3).
	if c := last[0]; '0' <= c && c <= '9' {
		return fmt.Errorf("host %q is neither a DNS name nor an IP address in its usual form", host)
	}
	return nil
}

// Authority returns host:port.
func (t Target) Authority() string { return net.JoinHostPort(t.Host, t.Port) }

// Names reports whether a Host field or :authority means this target. The port may be
// left out if it is defaultPort.
func (t Target) Names(authority, defaultPort string) bool {
	if EqualFold(authority, t.Authority()) {
		return true
	}
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return t.Port == defaultPort && EqualFold(authority, host)
}

// EqualFold compares s with a name in ASCII, ignoring case. Letters outside of ASCII
// that fold into it, as the long s does, take more bytes.
func EqualFold(s, ascii string) bool { return len(s) == len(ascii) && strings.EqualFold(s, ascii) }
