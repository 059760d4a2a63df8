package launch

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// interpret returns what a filter makes of a system call. The interpreter reads
// packets, which are big-endian, and so are the words that it is given.
func interpret(t *testing.T, filter []unix.SockFilter, arch, number, first, second uint32) uint32 {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(filter))
	for i, f := range filter {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	program, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("the filter has an instruction that is none")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[dataNumber:], number)
	binary.BigEndian.PutUint32(data[dataArch:], arch)
	binary.BigEndian.PutUint32(data[dataDomain:], first)
	binary.BigEndian.PutUint32(data[dataRequest:], second)
	result, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(result)
}

func TestCallFilter(t *testing.T) {
	const (
		allow    = uint32(unix.SECCOMP_RET_ALLOW)
		typing   = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
		keyring  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
		tcgets   = 0x5401
		mips     = 0x40000008
		x86      = unix.AUDIT_ARCH_X86_64
		aarch64  = unix.AUDIT_ARCH_AARCH64
		i386     = unix.AUDIT_ARCH_I386
		riscv    = unix.AUDIT_ARCH_RISCV64
		arm      = unix.AUDIT_ARCH_ARM
		getpid64 = 39
	)
	filter := callFilter()
	for _, test := range []struct {
		what                 string
		arch, number, second uint32
		want                 uint32
	}{
		{"ioctl", x86, 16, tcgets, allow},
		{"typing", x86, 16, tiocsti, typing},
		{"pasting", x86, 16, tioclinux, typing},
		{"typing by x32", x86, 0x40000000 | 514, tiocsti, typing},
		{"typing by x32 on an old kernel", x86, 0x40000000 | 16, tiocsti, typing},
		{"typing as i386", i386, 54, tiocsti, typing},
		{"typing on arm64", aarch64, 29, tiocsti, typing},
		{"typing on arm", arm, 54, tiocsti, typing},
		{"typing on riscv64", riscv, 29, tioclinux, typing},
		{"another call with that argument", x86, 17, tiocsti, allow},
		{"i386's number of ioctl", x86, 54, tiocsti, allow},
		{"add_key", x86, 248, 0, keyring},
		{"request_key", x86, 249, 0, keyring},
		{"keyctl", x86, 250, 0, keyring},
		{"before", x86, 247, 0, allow},
		{"behind", x86, 251, 0, allow},
		{"keyctl by x32", x86, 0x40000000 | 250, 0, keyring},
		{"keyctl as i386", i386, 288, 0, keyring},
		{"keyctl on arm64", aarch64, 219, 0, keyring},
		{"keyctl on arm", arm, 311, 0, keyring},
		{"keyctl on riscv64", riscv, 219, 0, keyring},
		{"getpid", x86, getpid64, 0, allow},
		{"somewhere else", mips, 16, tiocsti, allow},
	} {
		if got := interpret(t, filter, test.arch, test.number, 0, test.second); got != test.want {
			t.Errorf("%s: %#x, want %#x", test.what, got, test.want)
		}
	}
	for _, n := range calls {
		if interpret(t, filter, n.arch, n.ioctl, 0, tiocsti) != typing || interpret(t, filter, n.arch, n.addKey, 0, 0) != keyring {
			t.Errorf("%#x: not all of %d and %d are refused", n.arch, n.ioctl, n.addKey)
		}
	}
}

func TestMachineSocketFilter(t *testing.T) {
	const (
		allow = uint32(unix.SECCOMP_RET_ALLOW)
		none  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EAFNOSUPPORT)
		nosys = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
	)
	filter := machineSocketFilter()
	for _, n := range calls {
		for domain, want := range map[uint32]uint32{
			unix.AF_VSOCK: none, unix.AF_INET: allow, unix.AF_INET6: allow, unix.AF_UNIX: allow, unix.AF_NETLINK: allow,
		} {
			if got := interpret(t, filter, n.arch, n.socket, domain, 0); got != want {
				t.Errorf("%#x: a socket of domain %d: %#x, want %#x", n.arch, domain, got, want)
			}
		}
		if got := interpret(t, filter, n.arch, n.uring, 0, 0); got != nosys {
			t.Errorf("%#x: io_uring: %#x", n.arch, got)
		}
		if got := interpret(t, filter, n.arch, 1, unix.AF_VSOCK, 0); got != allow {
			t.Errorf("%#x: another call: %#x", n.arch, got)
		}
	}
	if got := interpret(t, filter, unix.AUDIT_ARCH_I386, 102, 1, 0); got != nosys {
		t.Errorf("socketcall: %#x", got)
	}
	if got := interpret(t, filter, unix.AUDIT_ARCH_X86_64, 102, 1, 0); got != allow {
		t.Errorf("getuid: %#x", got)
	}
}
