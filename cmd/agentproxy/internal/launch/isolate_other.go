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

// HoldSocketDirs does nothing: nothing is hidden on this system.
func HoldSocketDirs() (release func()) { return func() {} }

// View returns [ErrUnsupported].
func (Secrets) View() (View, error) { return View{}, errOtherSystem }

// EngineSockets returns none, for no command is isolated on this system.
func EngineSockets(func(string) string) []string { return nil }
