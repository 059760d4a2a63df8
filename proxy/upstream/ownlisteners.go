package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// OwnListeners holds the addresses that the program itself listens on. The client never
// connects to them: whoever asked for it would reach the admin port, or the proxy as the
// proxy's own user.
type OwnListeners struct {
	mu    sync.Mutex
	addrs []netip.AddrPort
}

// Add adds an address, unless it cannot be dialled, as that of a Unix socket. It returns
// the function that removes it.
func (o *OwnListeners) Add(addr net.Addr) (remove func()) {
	own, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return func() {}
	}
	own = netip.AddrPortFrom(own.Addr().WithZone("").Unmap(), own.Port())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addrs = append(o.addrs, own)
	return sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if i := slices.Index(o.addrs, own); i >= 0 {
			o.addrs = slices.Delete(o.addrs, i, i+1)
		}
	})
}

// check returns an [*OwnListenerError] for an address that leads to one of them.
func (o *OwnListeners) check(dialled netip.AddrPort) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	addr := embeddedIPv4(dialled.Addr().WithZone(""))
	for _, own := range o.addrs {
		if own.Port() == dialled.Port() && leadsTo(addr, own.Addr()) {
			return &OwnListenerError{netip.AddrPortFrom(addr, dialled.Port())}
		}
	}
	return nil
}

// leadsTo reports whether a connection to dialled may arrive at a socket that listens on
// own.
func leadsTo(dialled, own netip.Addr) bool {
	switch {
	case dialled == own:
		return true
	case dialled.IsUnspecified(): // which is taken for this machine
		return own.IsLoopback() || own.IsUnspecified()
	case own.IsUnspecified():
		return dialled.IsLoopback() || isOfThisMachine(dialled)
	}
	return false
}

// isOfThisMachine reports whether an interface of this machine has the address. It
// reports true if that cannot be known.
func isOfThisMachine(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || hasAddress(all, addr)
}

// OwnListenerError is the error of a connection to a listener of the program itself.
type OwnListenerError struct{ addr netip.AddrPort }

// Error returns the address and the remedy.
func (e *OwnListenerError) Error() string {
	return fmt.Sprintf("%s is a listener of this proxy itself, to which it does not connect; name another server", e.addr)
}
