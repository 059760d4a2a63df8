//go:build !linux

package launch

import "net"

// Isolation is nothing on this system.
type Isolation struct{}

var errOtherSystem = &Unsupported{"only Linux has the namespaces that this takes", "use a container, or another user", false}

// Start returns [ErrUnsupported].
func Start(Command, bool, func(Event)) (*Isolation, error) { return nil, errOtherSystem }

// Probe returns [ErrUnsupported].
func Probe(bool) error { return errOtherSystem }

// Listener is never called.
func (*Isolation) Listener() net.Listener { return nil }

// Exec is never called.
func (*Isolation) Exec(Command, View) error { return errOtherSystem }

// Wait is never called.
func (*Isolation) Wait() error { return errOtherSystem }

// Close is never called.
func (*Isolation) Close() error { return nil }
