package access

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// defaultOverflow is the kernel's DEFAULT_OVERFLOWUID.
const defaultOverflow = 65534

// isOverflow reports whether uid is what this user namespace shows for every user that
// it has no number for.
func isOverflow(uid uint32) bool { return !inFirstNamespace() && isOverflowIn("/proc", uid) }

// inFirstNamespace reports whether the process is in the first user namespace, which it stays in.
// Every connection would have to read it otherwise.
var inFirstNamespace = sync.OnceValue(func() bool { return isFirstNamespace("/proc") })

func isOverflowIn(proc string, uid uint32) bool {
	overflow := uint32(defaultOverflow)
	if raw, err := os.ReadFile(filepath.Join(proc, "sys/kernel/overflowuid")); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 32); err == nil {
			overflow = uint32(n)
		}
	}
	return uid == overflow && !isFirstNamespace(proc)
}

// isFirstNamespace reports whether every user has a number, as in the first namespace and in no
// other. There the overflow uid is a user like any.
func isFirstNamespace(proc string) bool {
	raw, err := os.ReadFile(filepath.Join(proc, "self/uid_map"))
	return err == nil && strings.Join(strings.Fields(string(raw)), " ") == "0 0 4294967295"
}
