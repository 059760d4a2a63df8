package launch

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initName is the argument with which this program becomes the init process, the first one,
// of a command's namespaces.
const initName = "isolated-init"

// netListener is where the proxy listens in a network namespace. It leaves the usual ports to
// the command.
const netListener = "127.0.0.1:0"

// exitGone is the exit code of an init process whose run is gone. Nobody sees it.
const exitGone = 1

// The init process runs here and not in main: by then, all that only a proxy needs would be
// initialised, and the command would have to wait for that.
func init() {
	if len(os.Args) == 3 && os.Args[1] == initName {
		os.Exit(runInit(os.Args[2]))
	}
}

// runInit runs the init process and returns its exit code. It hides what the command must
// not see, starts the command in a user namespace below its own, where nobody can undo
// that, and ends when all processes of the command have ended. The descriptor is its end
// of the wire.
func runInit(descriptor string) int {
	// Filters, credentials and keyrings belong to a thread. The command gets this one's.
	runtime.LockOSThread()
	fd, err := strconv.Atoi(descriptor)
	if err != nil {
		return exitGone
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "wire")
	w, err := newWire(f)
	if err != nil {
		return exitGone
	}
	f.Close()
	// The command gets these signals from the terminal, or by an order of the run. They are
	// caught and not ignored here, for the command would inherit that.
	notifyForwarded(make(chan os.Signal, 1))
	n := &initProcess{wire: w}
	return n.run()
}

// initProcess is the init process of a command's namespaces.
type initProcess struct {
	wire *wire
	mu   sync.Mutex // held while a report is sent
	plan plan
}

func (n *initProcess) tell(r report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.wire.enc.Encode(r) // obey sees if the run is gone
}

func (n *initProcess) run() int {
	if hasNetwork, err := n.openNetwork(); err != nil {
		n.tell(report{Refused: refusal("a network namespace", err)})
		return exitGone
	} else if hasNetwork != nil {
		err := n.wire.sendListener(hasNetwork)
		hasNetwork.Close()
		if err != nil {
			return exitGone
		}
	}
	var err error
	if n.plan, err = n.wire.receivePlan(); err != nil {
		return exitGone
	}
	guard, err := n.prepare()
	if err != nil {
		if e, ok := errors.AsType[*stepError](err); ok && e.general {
			n.tell(report{Refused: refusal(e.step, e.err)})
		} else {
			n.tell(report{Broken: err.Error()})
		}
		return exitGone
	}
	if n.plan.Path == "" { // a probe
		n.tell(report{Started: true})
		return 0
	}
	pid, err := n.start()
	if err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		n.tell(report{Failed: &failure{errno, err.Error()}})
		return exitGone
	}
	var guarding sync.WaitGroup
	if guard != nil {
		guarding.Go(func() {
			if err := guard.run(); err != nil {
				n.tell(report{Unguarded: err.Error()})
				n.killAll()
			}
		})
	}
	n.tell(report{Started: true})
	go n.obey(pid) // until the process ends, or the run
	status := n.reap(pid)
	endAll(n.rest)
	code := exitCode(status)
	n.tell(report{Exit: &code})
	if guard != nil {
		guard.close()
		guarding.Wait()
	}
	return code
}

// openNetwork brings up loopback and opens the proxy's listener in a network namespace. It
// returns nil if there is none.
func (n *initProcess) openNetwork() (*net.TCPListener, error) {
	if os.Getenv(networkVariable) == "" {
		return nil, nil
	}
	if err := os.Unsetenv(networkVariable); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return nil, err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", netListener)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// prepare hides what the command must not see, and forbids it what it must not do.
func (n *initProcess) prepare() (*guard, error) {
	if n.plan.Pids {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return nil, &stepError{step: "mount /proc", err: err, general: true}
		}
	} else if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, &stepError{step: "adopt processes", err: err, general: true}
	}
	if n.plan.View == nil {
		return nil, nil
	}
	covers, err := n.plan.View.cover()
	if err != nil {
		return nil, err
	}
	// By name, for the directory may be covered now.
	if err := os.Chdir(n.plan.Dir); err != nil {
		return nil, mountError("enter the working directory", err)
	}
	// The kernel's session keyring may hold a log-in, too, if the kernel has keyrings.
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil && !errors.Is(err, unix.ENOSYS) {
		return nil, &stepError{step: "leave the session's keyring", err: err, general: true}
	}
	if err := filterCalls(); err != nil {
		return nil, &stepError{step: "filter system calls", err: err, general: true}
	}
	if n.plan.Network {
		if err := forbidMachineSockets(); err != nil {
			return nil, &stepError{step: "filter sockets", err: err, general: true}
		}
	}
	if !n.plan.View.Abstract {
		if err := forbidAbstract(); err != nil {
			return nil, &stepError{step: "restrict sockets", err: err, general: true}
		}
	}
	if n.plan.View.Guard == "" {
		return nil, nil
	}
	g, err := newGuard(n.plan.View, covers, n.tell)
	if err != nil {
		return nil, mountError("watch "+n.plan.View.Guard, err)
	}
	return g, nil
}

// start starts the command.
func (n *initProcess) start() (int, error) {
	attr := &syscall.ProcAttr{
		Env:   n.plan.Env,
		Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{
			Cloneflags:                 syscall.CLONE_NEWUSER,
			UidMappings:                n.plan.UIDs,
			GidMappings:                n.plan.GIDs,
			GidMappingsEnableSetgroups: len(n.plan.GIDs) > 0 && n.plan.GIDs[0].Size > 1,
		},
	}
	pid, err := syscall.ForkExec(n.plan.Path, n.plan.Args, attr)
	if errors.Is(err, syscall.ENOEXEC) {
		// A script without an interpreter: execvp(3) does the same.
		pid, err = syscall.ForkExec("/bin/sh", append([]string{"sh", n.plan.Path}, n.plan.Args[1:]...), attr)
	}
	return pid, err
}

// obey carries out the run's orders, and ends the command when the run is gone.
func (n *initProcess) obey(pid int) {
	for {
		var o order
		if err := n.wire.dec.Decode(&o); err != nil {
			break
		}
		_ = unix.Kill(pid, o.Signal)
	}
	endAll(n.rest)
	os.Exit(exitGone)
}

// reap waits for the command, and reaps orphans meanwhile.
func (n *initProcess) reap(command int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if pid == command || err != nil && !errors.Is(err, unix.EINTR) {
			return status
		}
	}
}

// rest returns the processes of the command that are left.
func (n *initProcess) rest() []int {
	if n.plan.Pids {
		return others()
	}
	return children()
}

// killAll kills the processes of the command that are left.
func (n *initProcess) killAll() {
	for pids := n.rest(); len(pids) > 0; pids = n.rest() {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(endPoll)
	}
}

// exitCode returns the exit code that a shell gives to the end of a process.
func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
