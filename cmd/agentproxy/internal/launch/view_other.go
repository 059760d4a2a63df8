//go:build !linux

package launch

// View returns [ErrUnsupported].
func (Secrets) View() (View, error) { return View{}, errOtherSystem }

// EngineSockets returns none, for nothing is isolated from them here.
func EngineSockets(func(string) string) []string { return nil }
