package hosts

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Target is the authority that a client asked for: of a CONNECT, or of the
// absolute URL of a plain request. It is the only truth about where what
// follows goes.
type Target struct {
	Host string // lower case, no brackets
	Port string
}

// ParseTarget reads host:port as strictly as it can be read. Spellings that
// one program takes for a name and the next for an address, or that hide a
// name from a pattern, are refused.
func ParseTarget(authority string) (Target, error) {
	if strings.Contains(authority, "@") { // a password, perhaps, which must not be shown
		return Target{}, errors.New("a target with a user name is not connected to")
	}
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not host:port", authority)
	}
	if strings.HasPrefix(authority, "[") && !strings.Contains(host, ":") {
		return Target{}, fmt.Errorf("%q has brackets around what is no IPv6 address", authority)
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

// checkHost accepts a DNS name in ASCII or an IP address, each in its one
// canonical spelling.
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

// Names reports whether a Host header or :authority means this target, where
// the scheme's default port may be left out.
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

// EqualFold compares s with a name in ASCII. Letters outside of ASCII fold into
// it, as the long s does, but take more bytes.
func EqualFold(s, ascii string) bool { return len(s) == len(ascii) && strings.EqualFold(s, ascii) }
