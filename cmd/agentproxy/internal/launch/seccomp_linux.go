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

// x32 marks the system calls of that ABI, which has ioctl elsewhere.
const (
	x32Bit   = 0x40000000
	x32Ioctl = x32Bit | 514
)

// forbidTyping has the programs that this thread starts from now on not type into
// their terminal. They gain no privileges either, by set-user-ID or otherwise:
// without that the kernel takes no filter.
func forbidTyping() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := typingFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// typingFilter is a classic BPF program that lets everything pass but those requests.
func typingFilter() []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	equal := func(k uint32, then, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: then, Jf: otherwise, K: k}
	}
	result := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	// ioctl's number by architecture. Of others nothing is known, and nothing
	// else than these runs on the machines that we are built for.
	numbers := []struct{ arch, ioctl uint32 }{
		{unix.AUDIT_ARCH_X86_64, 16}, {unix.AUDIT_ARCH_X86_64, x32Ioctl}, {unix.AUDIT_ARCH_I386, 54},
		{unix.AUDIT_ARCH_AARCH64, 29}, {unix.AUDIT_ARCH_ARM, 54}, {unix.AUDIT_ARCH_RISCV64, 29},
	}
	const each = 4
	var filter []unix.SockFilter
	for i, n := range numbers {
		rest := uint8((len(numbers) - i - 1) * each)
		filter = append(filter,
			load(dataArch), equal(n.arch, 0, 2),
			load(dataNumber), equal(n.ioctl, rest+1, 0))
	}
	return append(filter,
		result(unix.SECCOMP_RET_ALLOW),
		load(dataRequest), equal(tiocsti, 1, 0), equal(tioclinux, 0, 1),
		result(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
		result(unix.SECCOMP_RET_ALLOW))
}
