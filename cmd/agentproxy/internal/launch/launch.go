// Package launch starts the command of agentproxy run and keeps the secrets of the user from
// it.
//
// On Linux the command runs in namespaces of its own (see [Start]). The user's files are
// where they are, but the log-in reads as a placeholder and the state directory as empty.
// Elsewhere, and where the kernel allows no namespaces, [Run] runs the command as it is.
//
// The package knows nothing of proxies and credentials. It is given the paths to hide and
// the bytes to show in their place.
package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
)

// Command is a program to run. The fields are those of [os/exec.Cmd].
type Command struct {
	Path           string // of the program, as exec.LookPath found it
	Args           []string
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// View is what an isolated command sees in place of the machine's files.
type View struct {
	// Dir is the absolute path of an existing directory, the state directory. The command
	// sees only Files and Links there.
	Dir string
	// Files are the contents of files in Dir, by their name. They hold no secret.
	Files map[string][]byte `json:"-"` // see sendPlan
	// Links are the targets of symbolic links in Dir, by their name.
	Links map[string]string
	// Show has the names of Files that are shown, read-only, by the path where that is.
	Show map[string]string
	// HideFiles and HideDirs are paths of files and directories that read as empty.
	HideFiles, HideDirs []string
	// HideLater are paths where nothing is yet. What appears there reads as empty.
	HideLater []string
	// Pin are directories that cannot be renamed, parents first.
	Pin []string
	// Guard is a directory that is watched for new files to hide: those in Show, and copies
	// of the log-in ([codexhome.IsLoginCopy]). "" is none.
	Guard string
	// Abstract is whether the command may use sockets without a path of servers outside.
	Abstract bool
	// System has the contents of files below /etc, by their path there.
	System map[string][]byte `json:"-"` // see sendPlan

	devices map[uint64]bool // of the view's file systems
}

// Secrets are what a command must not see, and what it sees instead.
type Secrets struct {
	CodexHome   string
	StateDir    string
	Placeholder []byte            // of auth.json
	Shown       map[string][]byte // in place of further files, by their path
	Files       map[string][]byte // in StateDir, by name
	Links       map[string]string // in StateDir, with their targets
	Paths       []string          // further files and directories that hold secrets
	Configs     string            // existing directory that the command must not write to, "" for none
	Bus         bool              // whether the command may use the session bus
	Dotenv      []string          // variables that a .env file must not set
	Getenv      func(string) string
}

// Event is something about a command of which its run warns.
type Event int

// The events.
const (
	// LoginReplaced: the log-in was replaced from outside, and for a moment the command could
	// have read it.
	LoginReplaced Event = iota
	// LoginAttempted: the command tried to replace the log-in.
	LoginAttempted
	// LoginUnguarded: the command was killed, for a log-in that is put in place from outside
	// could not be hidden any more.
	LoginUnguarded
)

// ErrUnsupported is wrapped by errors of [Start] and [Probe] if this machine cannot isolate
// commands.
var ErrUnsupported = errors.New("commands cannot be isolated here")

// Unsupported is an [ErrUnsupported] with its reason.
type Unsupported struct {
	Reason string // what was refused
	Remedy string // what would allow it
	// Busy is whether a resource is used up for now. A command may have done that so that the
	// next one is not isolated.
	Busy bool
}

// Error returns the reason and the remedy.
func (e *Unsupported) Error() string {
	return fmt.Sprintf("%s; %s", e.Reason, e.Remedy)
}

// Is reports whether target is [ErrUnsupported] and e is not Busy.
func (e *Unsupported) Is(target error) bool { return target == ErrUnsupported && !e.Busy }

// The exit codes of commands that could not be run, as env(1) has them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// StartError is a command that could not be started.
type StartError struct {
	Err error
}

// Error returns why the command could not be started.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// ExitCode returns the exit code of env(1).
func (e *StartError) ExitCode() int {
	if errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

// childOf returns the process of a command. It has no context: the command gets the
// signals that end it, and ends as it sees fit.
func childOf(command Command) *exec.Cmd {
	child := exec.Command(command.Path)
	child.Args, child.Env = command.Args, command.Env
	child.Stdin, child.Stdout, child.Stderr = command.Stdin, command.Stdout, command.Stderr
	return child
}
