package signer

import (
	"fmt"
	"slices"
	"strings"
)

// methodSet is a set of HTTP methods. The empty set stands for all.
type methodSet uint16

// methods are the methods of RFC 9110, section 9.3, and RFC 5789 that a request may have.
// CONNECT is not among them, for it makes a tunnel, nor TRACE, for the answer holds the
// credential.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Methods returns the methods that a request may have: those of RFC 9110 and RFC 5789 but
// CONNECT and TRACE.
func Methods() []string { return slices.Clone(methods[:]) }

// KnownMethod reports whether method is one of [Methods], byte for byte.
func KnownMethod(method string) bool { return methodBit(method) != 0 }

// methodBit returns the set of one method, or 0 if it is not known.
func methodBit(method string) methodSet {
	if i := slices.Index(methods[:], method); i >= 0 {
		return 1 << i
	}
	return 0
}

// parseMethods returns the set of the named methods.
func parseMethods(names []string) (methodSet, error) {
	var set methodSet
	for _, name := range names {
		bit := methodBit(name)
		if bit == 0 {
			return 0, fmt.Errorf("method %q is none of %s", name, strings.Join(methods[:], ", "))
		}
		set |= bit
	}
	return set, nil
}

// has reports whether the set has the method.
func (s methodSet) has(method methodSet) bool { return s == 0 || s&method != 0 }
