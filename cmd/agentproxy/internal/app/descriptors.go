package app

import (
	"errors"
	"fmt"
	"syscall"
)

// ownDescriptors is more than the proxy has open besides connections through it.
const ownDescriptors = 64

// CheckDescriptors returns what is wrong with a limit on descriptors for a number of
// connections, "" if nothing is. Each takes two: one to the client, one to a server.
func CheckDescriptors(most uint64, connections int) string {
	if want := uint64(connections)*2 + ownDescriptors; most < want {
		return fmt.Sprintf("the system lets this process have %d descriptors, but limits.connections, which is %d, may take %d; raise the limit (LimitNOFILE=, ulimit -n), or lower limits.connections", most, connections, want)
	}
	return ""
}

// outOfDescriptors reports whether err says that no file could be opened because too many
// are.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
