package hosts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// PortRanges is a list of port ranges.
type PortRanges []PortRange

// DefaultPorts returns the ports of HTTPS and HTTP.
func DefaultPorts() PortRanges { return PortRanges{{80, 80}, {443, 443}} }

// ParsePortRange parses "443" or "8000-8999".
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	for _, port := range []string{first, last} {
		if err := checkPort(port); err != nil {
			return PortRange{}, fmt.Errorf("%q is neither a port nor a range such as 8000-8999: %w", s, err)
		}
	}
	r := PortRange{parsePort(first), parsePort(last)}
	if r.First > r.Last {
		return PortRange{}, fmt.Errorf("range %q ends before it begins; write it as %d-%d", s, r.Last, r.First)
	}
	return r, nil
}

// Contain reports whether any range contains port, which must be a port number.
func (rs PortRanges) Contain(port string) bool {
	n := parsePort(port)
	return slices.ContainsFunc(rs, func(r PortRange) bool { return r.First <= n && n <= r.Last })
}

func parsePort(s string) uint16 {
	n, _ := strconv.ParseUint(s, 10, 16)
	return uint16(n)
}
