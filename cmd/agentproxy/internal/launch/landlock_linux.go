package launch

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scopedABI is the first version of Landlock with scopes (landlock(7)).
const scopedABI = 6

// forbidAbstract keeps the programs that this thread starts from now on from servers outside
// at sockets without a path, such as a session bus. No mount hides those. On kernels before
// 6.12, which cannot do that, it does nothing.
func forbidAbstract() error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < scopedABI {
		return nil
	}
	// The fields of this version.
	attr := struct{ fs, net, scoped uint64 }{scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
