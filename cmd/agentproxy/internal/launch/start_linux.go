package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
)

// networkVariable tells the init process that it has a network namespace.
const networkVariable = "AGENTPROXY_ISOLATED_NETWORK"

// Isolation holds the namespaces of a command, and then the command.
type Isolation struct {
	command  Command
	network  bool
	pids     bool
	init     *exec.Cmd
	wire     *wire
	listener net.Listener
	events   func(Event)
	signals  chan os.Signal
	// endOrphans ends processes that the init process has not ended. Without a PID namespace
	// the command could kill the init process and go on with nobody to guard the log-in.
	endOrphans func()
	left       bool   // the init process is no longer waited for
	foreground func() // gives the terminal back to the run's process group
}

// Start makes namespaces for a command, of which it only uses the streams. With network the
// command has no network but a loopback interface, on which [Isolation.Listener] listens.
// The error is [ErrUnsupported] where the kernel allows no namespaces.
//
// Start must be called before this process holds a secret. It makes the process dumpable for
// a moment, for only a dumpable one may map its user into a namespace.
func Start(command Command, network bool, events func(Event)) (*Isolation, error) {
	if err := checkStreams(command, nil, network); err != nil {
		return nil, err
	}
	all, err := mounts()
	if err != nil {
		return nil, startRefusal(err)
	}
	return startIn(command, network, procIsWhole(all), events)
}

// startIn is [Start], with a PID namespace or without.
func startIn(command Command, network, pids bool, events func(Event)) (*Isolation, error) {
	i := &Isolation{command: command, network: network, pids: pids, events: events, signals: make(chan os.Signal, 16), foreground: keepForeground()}
	// Before anything is started, so that no signal is lost.
	notifyForwarded(i.signals)
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err == nil && dumpable == 0 {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // if not, the start fails
		defer unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	if !i.pids {
		if i.endOrphans, err = adoptOrphans(); err != nil {
			return nil, err
		}
	}
	if err := i.start(); err != nil {
		signal.Stop(i.signals)
		return nil, err
	}
	return i, nil
}

// procIsWhole reports whether nothing is mounted over parts of /proc, as it is in containers.
// There the kernel allows no new /proc, which a PID namespace needs, for it would show
// those parts.
func procIsWhole(all []mount) bool {
	for _, m := range all {
		rel, ok := below(m.point, "/proc")
		if ok && rel != "" && rel != "sys/fs/binfmt_misc" { // a directory that is always empty
			return false
		}
	}
	return true
}

func (i *Isolation) start() error {
	mine, theirs, err := wirePair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = i.command.Stdin, i.command.Stdout, i.command.Stderr
	if cmd.ExtraFiles, err = inherited(i.network); err != nil {
		return errors.Join(err, mine.conn.Close())
	}
	defer closeAll(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Args = []string{"agentproxy", initName, strconv.Itoa(2 + len(cmd.ExtraFiles))}
	cmd.Env = []string{}
	uids, gids := ownIDs("/proc/self/uid_map", os.Geteuid()), ownIDs("/proc/self/gid_map", os.Getegid())
	for _, m := range slices.Concat(single(uids), single(gids)) {
		m.ContainerID = 0 // root, so that it keeps its capabilities
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings:                uids,
		GidMappings:                gids,
		GidMappingsEnableSetgroups: gids[0].Size > 1,
	}
	if i.pids {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if i.network {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
		cmd.Env = append(cmd.Env, networkVariable+"=1")
	}
	err = cmd.Start()
	runtime.KeepAlive(cmd.ExtraFiles)
	if err != nil {
		return errors.Join(startRefusal(err), mine.conn.Close())
	}
	i.init, i.wire = cmd, mine
	if i.network {
		if i.listener, err = mine.receiveListener(); err != nil {
			return errors.Join(err, i.Close())
		}
		if i.listener == nil {
			return errors.Join(i.refused(), i.Close())
		}
	}
	return nil
}

// refused returns why the init process gives up.
func (i *Isolation) refused() error {
	var r report
	if err := i.wire.dec.Decode(&r); err != nil {
		return err
	}
	if r.Refused != nil {
		return r.Refused
	}
	return errors.New("the first process of the namespaces says nothing of use")
}

// Listener returns the listener in the command's network namespace, nil if it has the
// machine's network. The caller closes it.
func (i *Isolation) Listener() net.Listener { return i.listener }

// Exec starts the command, whose streams are those of [Start], with a view of the files. The
// error is a [*StartError] if the command cannot be run, or [ErrUnsupported].
func (i *Isolation) Exec(command Command, view View) error {
	if err := checkStreams(i.command, &view, i.network); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w; start COMMAND in one that is there", err)
	}
	p := plan{
		View: &view, Network: i.network, Dir: dir,
		Path: command.Path, Args: command.Args, Env: command.Env,
		UIDs: ownIDs("/proc/self/uid_map", os.Geteuid()), GIDs: ownIDs("/proc/self/gid_map", os.Getegid()),
	}
	for _, m := range slices.Concat(single(p.UIDs), single(p.GIDs)) {
		m.HostID = 0
	}
	return i.try(p)
}

// try sends a plan and waits until the command has started, or cannot be.
func (i *Isolation) try(p plan) error {
	p.Pids = i.pids
	if err := i.wire.sendPlan(p); err != nil {
		return err
	}
	for {
		var r report
		if err := i.wire.dec.Decode(&r); err != nil {
			return fmt.Errorf("the first process of COMMAND's namespaces ended: %w; start it again", err)
		}
		switch {
		case r.Refused != nil:
			return r.Refused
		case r.Broken != "":
			return fmt.Errorf("COMMAND was not started, for it could read what is to be hidden from it: %s; mend that, or use --isolate off", r.Broken)
		case r.Failed != nil:
			return &StartError{startCause(r.Failed)}
		case r.Started:
			return nil
		}
		i.tell(r)
	}
}

// tell passes a report of what happened to the log-in to events.
func (i *Isolation) tell(r report) {
	switch {
	case i.events == nil:
	case r.Exposed:
		i.events(LoginReplaced)
	case r.Unguarded != "":
		i.events(LoginUnguarded)
	case r.Login:
		i.events(LoginAttempted)
	}
}

func startCause(f *failure) error {
	if f.Errno != 0 {
		return f.Errno
	}
	return errors.New(f.Text)
}

// Wait passes signals on to the command and waits until it and all that it has started has
// ended. The error is a [cli.ExitError] if the command failed.
func (i *Isolation) Wait() error {
	defer signal.Stop(i.signals)
	defer i.foreground()
	reports := make(chan report)
	go func() {
		defer close(reports)
		for {
			var r report
			if i.wire.dec.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}()
	code := -1
	for {
		select {
		case s := <-i.signals:
			if s, ok := s.(syscall.Signal); ok && !fromTerminal(s) {
				_ = i.wire.enc.Encode(order{s})
			}
		case r, ok := <-reports:
			switch {
			case !ok:
				return i.ended(code)
			case r.Exit != nil:
				code = *r.Exit
				if i.mayLeave() {
					return exitOf(code)
				}
			default:
				i.tell(r)
			}
		}
	}
}

// mayLeave reports whether the init process need not be waited for, after the command and all
// that it has started has ended. The kernel takes up to 20 ms to take its watches and
// namespaces down.
func (i *Isolation) mayLeave() bool {
	for _, stream := range []any{i.command.Stdin, i.command.Stdout, i.command.Stderr} {
		if _, ok := stream.(*os.File); !ok && stream != nil {
			return false // a goroutine of os/exec copies the stream
		}
	}
	i.left = i.endOrphans == nil
	return i.left
}

// exitOf returns an exit code as a [cli.ExitError], nil for 0.
func exitOf(code int) error {
	if code == 0 {
		return nil
	}
	return cli.ExitError(code)
}

// ended waits for the init process, which has reported code, or -1 if it was killed.
func (i *Isolation) ended(code int) error {
	err := i.init.Wait()
	if i.endOrphans != nil {
		i.endOrphans()
	}
	if code >= 0 {
		return exitOf(code)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return cli.ExitError(128 + int(status.Signal()))
		}
	}
	return errors.Join(errors.New("the command's namespaces are gone"), err)
}

// Close ends the namespaces and what runs in them.
func (i *Isolation) Close() error {
	signal.Stop(i.signals)
	if i.init == nil || i.init.ProcessState != nil || i.left {
		return nil
	}
	_ = i.wire.conn.Close()
	_ = i.init.Process.Kill()
	_ = i.init.Wait() // it was killed
	if i.endOrphans != nil {
		i.endOrphans()
	}
	return nil
}

// single returns the mappings of one ID.
func single(all []syscall.SysProcIDMap) (singles []*syscall.SysProcIDMap) {
	for i := range all {
		if all[i].Size == 1 {
			singles = append(singles, &all[i])
		}
	}
	return singles
}

// ownIDs returns the mapping of this process's users or groups into a namespace below: all
// of them for root, else id alone.
func ownIDs(file string, id int) []syscall.SysProcIDMap {
	alone := []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	if os.Geteuid() != 0 {
		return alone
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return alone
	}
	var all []syscall.SysProcIDMap
	for line := range bytes.Lines(raw) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			return alone
		}
		from, err1 := strconv.Atoi(string(fields[0]))
		size, err2 := strconv.Atoi(string(fields[2]))
		if err1 != nil || err2 != nil {
			return alone
		}
		all = append(all, syscall.SysProcIDMap{ContainerID: from, HostID: from, Size: size})
	}
	if len(all) == 0 {
		return alone
	}
	return all
}

// Probe returns nil if commands can be isolated here, or else the error of [Start] or
// [Isolation.Exec].
func Probe(network bool) error {
	i, err := Start(Command{Stdout: io.Discard, Stderr: io.Discard}, network, nil)
	if err != nil {
		return err
	}
	defer i.Close()
	if i.listener != nil {
		defer i.listener.Close()
	}
	dir, err := os.MkdirTemp("", "agentproxy-probe-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	return i.Exec(Command{}, View{Dir: dir, System: map[string][]byte{codexhome.ManagedConfigFile: nil}})
}
