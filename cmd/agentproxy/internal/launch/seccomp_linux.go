package launch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests of ioctl(2) by which a program types into its terminal, as if its
// user had: the shell outside would read that when the command has ended.
const (
	tiocsti   = 0x5412 // ioctl_tty(2), faking input
	tioclinux = 0x541c // ioctl_console(2), pasting
)

// The places in seccomp_data (seccomp(2)).
const (
	dataNumber  = 0
	dataArch    = 4
	dataRequest = 16 + 8 // the lower half of the second argument, on a little-endian machine
)

// x32Bit marks the system calls of that ABI, which has an ioctl of its own; older
// kernels take the 64-bit one's number for it, too.
const (
	x32Bit   = 0x40000000
	x32Ioctl = x32Bit | 514
)

// filteredCalls are the numbers of the system calls that are looked at, by
// architecture. add_key, request_key and keyctl follow on one another. Of other
// architectures nothing is known, and nothing else than these runs on the machines
// that we are built for.
var filteredCalls = [...]struct{ arch, ioctl, addKey uint32 }{
	{unix.AUDIT_ARCH_X86_64, 16, 248},
	{unix.AUDIT_ARCH_X86_64, x32Bit | 16, x32Bit | 248},
	{unix.AUDIT_ARCH_X86_64, x32Ioctl, x32Bit | 248},
	{unix.AUDIT_ARCH_I386, 54, 286},
	{unix.AUDIT_ARCH_AARCH64, 29, 217},
	{unix.AUDIT_ARCH_ARM, 54, 309},
	{unix.AUDIT_ARCH_RISCV64, 29, 217},
}

// filterCalls has the programs that this thread starts from now on not type into
// their terminal, and find no keyrings in the kernel: whoever may read a key that is
// in none of his own needs but its number. They gain no privileges either, by
// set-user-ID or otherwise: without that the kernel takes no filter.
func filterCalls() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return install(callFilter())
}

// install adds a filter to those of this thread.
func install(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// The parts of a filter.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, k uint32, then, otherwise int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: uint8(then), Jf: uint8(otherwise), K: k}
}

func result(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}

// callFilter is a classic BPF program that lets everything else pass.
func callFilter() []unix.SockFilter {
	const (
		each  = 6 // instructions for an architecture
		keys  = len(filteredCalls)*each + 1
		ioctl = keys + 1
	)
	var filter []unix.SockFilter
	// to is the distance to an instruction from the one that is ahead of here.
	to := func(target, ahead int) int { return target - len(filter) - ahead - 1 }
	for _, n := range filteredCalls {
		filter = append(filter,
			load(dataArch), jump(unix.BPF_JEQ, n.arch, 0, each-2),
			load(dataNumber), jump(unix.BPF_JEQ, n.ioctl, to(ioctl, 3), 0),
			jump(unix.BPF_JGE, n.addKey, 0, 1),
			jump(unix.BPF_JGT, n.addKey+2, 0, to(keys, 5)))
	}
	return append(filter,
		result(unix.SECCOMP_RET_ALLOW),
		result(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		load(dataRequest), jump(unix.BPF_JEQ, tiocsti, 1, 0), jump(unix.BPF_JEQ, tioclinux, 0, 1),
		result(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
		result(unix.SECCOMP_RET_ALLOW))
}
