//go:build !linux

package launch

// View returns [ErrUnsupported].
func (Secrets) View() (View, error) { return View{}, errOtherSystem }

// EngineSockets returns none, for no command is isolated on this system.
func EngineSockets(func(string) string) []string { return nil }
