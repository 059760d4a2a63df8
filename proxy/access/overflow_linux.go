package access

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// defaultOverflow is the kernel's DEFAULT_OVERFLOWUID.
const defaultOverflow = 65534

// isOverflow reports whether uid is what this user namespace shows for every user that
// it has no number for.
func isOverflow(uid uint32) bool { return isOverflowIn("/proc", uid) }

func isOverflowIn(proc string, uid uint32) bool {
	overflow := uint32(defaultOverflow)
	if raw, err := os.ReadFile(filepath.Join(proc, "sys/kernel/overflowuid")); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 32); err == nil {
			overflow = uint32(n)
		}
	}
	if uid != overflow {
		return false
	}
	// In the first namespace, and in no other, every user has a number. There the
	// overflow uid is a user like any.
	raw, err := os.ReadFile(filepath.Join(proc, "self/uid_map"))
	return err != nil || strings.Join(strings.Fields(string(raw)), " ") != "0 0 4294967295"
}
