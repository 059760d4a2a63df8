//go:build !linux

package launch

// Secrets is what a command must not see, and what it sees instead.
type Secrets struct {
	CodexHome   string
	StateDir    string
	Placeholder []byte
	Files       map[string][]byte
	Links       map[string]string
	Paths       []string
	Bus         bool
	Dotenv      []string
	Getenv      func(string) string
}

// View returns [ErrUnsupported].
func (Secrets) View() (View, error) { return View{}, errOtherSystem }

// EngineSockets returns none, for nothing is isolated from them here.
func EngineSockets(func(string) string) []string { return nil }
