package app

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestSocketIsPrivate has the mode with which a socket's file comes into being,
// and of the one that is listened on.
func TestSocketIsPrivate(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(string) (net.Listener, error){"bound": bindPrivate, "listening": listenUnix} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s: mode %04o, want 0600", name, mode)
		}
	}
}
