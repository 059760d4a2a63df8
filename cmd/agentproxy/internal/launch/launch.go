// Package launch starts the command of agentproxy run and keeps the secrets of the
// user from it.
//
// On Linux the command runs in namespaces of its own (see [Start]): the user's
// files are where they are, but the log-in reads as a placeholder and the state
// directory as empty. Where the kernel refuses, and on other systems, a [Home]
// takes the place of CODEX_HOME, which hides the secret from a program that looks
// for it where it was told to, and from no other.
//
// The package knows nothing of proxies and nothing of credentials: it is given the
// names of what to hide and the bytes to show in its place.
package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
)

// Command is a program to run, as [os/exec.Cmd] has it.
type Command struct {
	Path           string // of the program, found already
	Args           []string
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// View is what an isolated command sees in place of files that are there.
type View struct {
	// Dir is a directory that reads as nothing but Files and Links: the state directory. It
	// must be absolute, and must exist.
	Dir string
	// Files are the contents of files in Dir, by their name. They hold no secret.
	Files map[string][]byte `json:"-"` // see sendPlan
	// Links are the targets of symbolic links in Dir, by their name.
	Links map[string]string
	// Show has the file at a path read as one of Files. Nobody can write to it.
	Show map[string]string
	// HideFiles and HideDirs are paths that read as an empty file or directory, if
	// there is anything.
	HideFiles, HideDirs []string
	// HideLater are paths at which nothing is, yet. What appears there reads as empty.
	HideLater []string
	// Pin are directories that cannot be renamed, those above first.
	Pin []string
	// Guard is a directory in which files appear that must not be seen: those that
	// Show names, and those whose name [IsLoginCopy] knows. "" is none.
	Guard string
	// Abstract is whether servers outside can be reached at sockets without a path.
	Abstract bool
	// System holds files that are to be found below /etc, by their path there.
	System map[string][]byte `json:"-"` // see sendPlan

	devices map[uint64]bool // of the file systems that what is hidden reads as
}

// Secrets is what a command must not see, and what it sees instead.
type Secrets struct {
	CodexHome   string
	StateDir    string
	Placeholder []byte            // of auth.json
	Files       map[string][]byte // to be found in StateDir
	Links       map[string]string // to be found in StateDir, with their targets
	Paths       []string          // further files and directories that hold secrets
	Bus         bool              // whether the session bus is left alone
	Dotenv      []string          // the variables that a .env file must not set
	Getenv      func(string) string
}

// Event is something that happens to a command that its run may want to tell.
type Event int

// The events.
const (
	// LoginReplaced: another log-in was put in place from outside, and for a moment
	// the command could have read it.
	LoginReplaced Event = iota
	// LoginAttempted: the command tried to put another log-in in place.
	LoginAttempted
	// LoginUnguarded: a log-in that is put in place from outside would not be hidden
	// any more, so that the command was killed.
	LoginUnguarded
)

// ErrUnsupported is wrapped by the errors of [Start] and [Probe] that say that this
// machine cannot isolate a command.
var ErrUnsupported = errors.New("commands cannot be isolated here")

// Unsupported is an [ErrUnsupported] with its reason.
type Unsupported struct {
	Reason string // what was refused
	Remedy string // what would allow it
	// Busy is whether it is only now that nothing is left of what it takes. A command
	// may have used it up so that the next one is not isolated.
	Busy bool
}

func (e *Unsupported) Error() string {
	return fmt.Sprintf("%s; %s", e.Reason, e.Remedy)
}

// Is reports whether target is [ErrUnsupported], which one that is busy is not.
func (e *Unsupported) Is(target error) bool { return target == ErrUnsupported && !e.Busy }

// ExitError is the end of a command that did not succeed. Its value is what a shell
// makes of it: the exit code, or 128 and the number of the signal.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// The exit codes of commands that could not be run, as env(1) has them.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// StartError is a command that could not be started.
type StartError struct {
	Err error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// ExitCode returns what env(1) would exit with.
func (e *StartError) ExitCode() int {
	if errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, fs.ErrNotExist) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// childOf returns the process of a command. It has no context: the command gets the
// signals that end it, and ends as it sees fit.
func childOf(command Command) *exec.Cmd {
	child := exec.Command(command.Path)
	child.Args, child.Env = command.Args, command.Env
	child.Stdin, child.Stdout, child.Stderr = command.Stdin, command.Stdout, command.Stderr
	return child
}
