package launch

import "golang.org/x/sys/unix"

// dataDomain is the place of the first argument's lower half in seccomp_data.
const dataDomain = 16

// noCall is the number of no system call.
const noCall = ^uint32(0)

// socketCalls are the numbers of the system calls that make sockets, by
// architecture. What socketcall is to do, which only i386 has, no filter sees; its
// programs have socket, too. io_uring makes sockets that no filter sees either.
var socketCalls = [...]struct{ arch, socket, uring, socketcall uint32 }{
	{unix.AUDIT_ARCH_X86_64, 41, 425, noCall},
	{unix.AUDIT_ARCH_X86_64, x32Bit | 41, x32Bit | 425, noCall},
	{unix.AUDIT_ARCH_I386, 359, 425, 102},
	{unix.AUDIT_ARCH_AARCH64, 198, 425, noCall},
	{unix.AUDIT_ARCH_ARM, 281, 425, noCall},
	{unix.AUDIT_ARCH_RISCV64, 198, 425, noCall},
}

// forbidMachineSockets has the programs that this thread starts from now on make no
// sockets to the machine that this virtual machine runs on, which no network
// namespace keeps from (vsock(7)). [filterCalls] comes first.
func forbidMachineSockets() error { return install(machineSocketFilter()) }

// machineSocketFilter is a classic BPF program that lets everything else pass.
func machineSocketFilter() []unix.SockFilter {
	const (
		each   = 6 // instructions for an architecture
		refuse = len(socketCalls)*each + 1
		socket = refuse + 1
	)
	var filter []unix.SockFilter
	to := func(target, ahead int) int { return target - len(filter) - ahead - 1 }
	for _, n := range socketCalls {
		filter = append(filter,
			load(dataArch), jump(unix.BPF_JEQ, n.arch, 0, each-2),
			load(dataNumber), jump(unix.BPF_JEQ, n.socket, to(socket, 3), 0),
			jump(unix.BPF_JEQ, n.uring, to(refuse, 4), 0),
			jump(unix.BPF_JEQ, n.socketcall, to(refuse, 5), 0))
	}
	return append(filter,
		result(unix.SECCOMP_RET_ALLOW),
		result(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		load(dataDomain), jump(unix.BPF_JEQ, unix.AF_VSOCK, 0, 1),
		result(unix.SECCOMP_RET_ERRNO|uint32(unix.EAFNOSUPPORT)),
		result(unix.SECCOMP_RET_ALLOW))
}
