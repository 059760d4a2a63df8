package launch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests of ioctl(2) by which a program types into its terminal as if its user
// had: the shell outside would read that after the command has ended.
const (
	tiocsti   = 0x5412 // ioctl_tty(2), faking input
	tioclinux = 0x541c // ioctl_console(2), pasting
)

// The offsets in seccomp_data (seccomp(2)), of arguments those of the lower half on a
// little-endian machine.
const (
	dataNumber  = 0
	dataArch    = 4
	dataDomain  = 16     // the first argument of socket
	dataRequest = 16 + 8 // the second argument of ioctl
)

// x32Bit marks the system calls of that ABI, which has an ioctl of its own. Older kernels
// take the number of the 64-bit ioctl for it, too.
const (
	x32Bit   = 0x40000000
	x32Ioctl = x32Bit | 514
)

// noCall is the number of no system call.
const noCall = ^uint32(0)

// archCalls are the numbers of system calls that filters look at, on one architecture.
// add_key, request_key and keyctl follow on one another. No filter sees what socketcall is
// to do, which only i386 has; its programs have socket, too. io_uring makes sockets that
// no filter sees either.
type archCalls struct{ arch, ioctl, addKey, socket, uring, socketcall uint32 }

// calls are the architectures that run on the machines which agentproxy is built for.
var calls = [...]archCalls{
	{unix.AUDIT_ARCH_X86_64, 16, 248, 41, 425, noCall},
	{unix.AUDIT_ARCH_X86_64, x32Bit | 16, x32Bit | 248, x32Bit | 41, x32Bit | 425, noCall},
	{unix.AUDIT_ARCH_X86_64, x32Ioctl, x32Bit | 248, x32Bit | 41, x32Bit | 425, noCall},
	{unix.AUDIT_ARCH_I386, 54, 286, 359, 425, 102},
	{unix.AUDIT_ARCH_AARCH64, 29, 217, 198, 425, noCall},
	{unix.AUDIT_ARCH_ARM, 54, 309, 281, 425, noCall},
	{unix.AUDIT_ARCH_RISCV64, 29, 217, 198, 425, noCall},
}

// filterCalls keeps the programs that this thread starts from now on from typing into
// their terminal and from the kernel's keyrings: whoever knows the number of a key may
// read it, whatever keyring it is in. They gain no privileges either, by set-user-ID or
// otherwise: without that the kernel takes no filter.
func filterCalls() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return install(callFilter())
}

// forbidMachineSockets keeps the programs that this thread starts from now on from making
// sockets to the machine that this virtual machine runs on, which no network namespace
// keeps from them (vsock(7)). [filterCalls] comes first.
func forbidMachineSockets() error { return install(machineSocketFilter()) }

// install adds a filter to those of this thread.
func install(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// callFilter returns the filter of [filterCalls].
func callFilter() []unix.SockFilter {
	return newFilter(func(c archCalls) []callRange {
		return []callRange{{c.ioctl, c.ioctl, true}, {c.addKey, c.addKey + 2, false}}
	}, dataRequest, unix.EPERM, tiocsti, tioclinux)
}

// machineSocketFilter returns the filter of [forbidMachineSockets].
func machineSocketFilter() []unix.SockFilter {
	return newFilter(func(c archCalls) []callRange {
		return []callRange{{c.socket, c.socket, true}, {c.uring, c.uring, false}, {c.socketcall, c.socketcall, false}}
	}, dataDomain, unix.EAFNOSUPPORT, unix.AF_VSOCK)
}

// callRange is a range of system calls. They fail with ENOSYS, or if byArgument is set,
// where an argument has one of the values that the filter refuses.
type callRange struct {
	first, last uint32
	byArgument  bool
}

// newFilter returns a classic BPF program that looks at the ranges of each architecture.
// Calls whose argument is looked at fail with errno if it is one of refused. All else
// passes.
func newFilter(ranges func(archCalls) []callRange, argument uint32, errno unix.Errno, refused ...uint32) []unix.SockFilter {
	each := 3 + 2*len(ranges(calls[0])) // instructions for an architecture
	noSys := len(calls)*each + 1
	byArgument := noSys + 1
	var filter []unix.SockFilter
	for _, c := range calls {
		filter = append(filter, load(dataArch), jump(unix.BPF_JEQ, c.arch, 0, each-2), load(dataNumber))
		for _, r := range ranges(c) {
			target := noSys
			if r.byArgument {
				target = byArgument
			}
			filter = append(filter, jump(unix.BPF_JGE, r.first, 0, 1), jump(unix.BPF_JGT, r.last, 0, target-len(filter)-2))
		}
	}
	filter = append(filter, result(unix.SECCOMP_RET_ALLOW), result(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), load(argument))
	for i, value := range refused {
		rest := len(refused) - 1 - i
		otherwise := 0
		if rest == 0 {
			otherwise = 1
		}
		filter = append(filter, jump(unix.BPF_JEQ, value, rest, otherwise))
	}
	return append(filter, result(unix.SECCOMP_RET_ERRNO|uint32(errno)), result(unix.SECCOMP_RET_ALLOW))
}

// load loads a word of seccomp_data.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips as many instructions as then or otherwise says.
func jump(test uint16, k uint32, then, otherwise int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: uint8(then), Jf: uint8(otherwise), K: k}
}

// result ends a filter.
func result(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}
