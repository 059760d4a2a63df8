package identity

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Errors that say why nobody can be acted for. Those of the packages below this one
// wrap them.
var (
	ErrNoLogin     = errors.New("no ChatGPT log-in")
	ErrAPIKey      = errors.New("logged in with an API key")
	ErrNotChatGPT  = errors.New("logged in to something other than ChatGPT")
	ErrPlaceholder = errors.New("the log-in is one of agentproxy's placeholders")
	// ErrLoginEnded says that a log-in cannot be refreshed any more. It is final until the
	// next log-in.
	ErrLoginEnded   = errors.New("the log-in has ended")
	ErrTokenExpired = errors.New("the access token has expired")
)

// Errors that say why no assertion can be made.
var (
	ErrNoIdentity  = errors.New("no agent identity is stored")
	ErrNoTask      = errors.New("the agent identity has no task")
	ErrTaskRefused = errors.New("the server has refused the agent's task, and there is no other yet")
	// ErrTokenLogin says that no agent identity is registered or used, because the
	// log-in is an access token of a workspace, with which Codex uses none. It wraps
	// [ErrNoIdentity].
	ErrTokenLogin = fmt.Errorf("%w: the log-in is a workspace's access token, which acts without one", ErrNoIdentity)
)

// Errors that say why a record or a token may not act for an account. The errors of
// [Record.Bind] wrap them and name both sides.
var (
	ErrOtherWorkspace = errors.New("belongs to another workspace")
	ErrOtherUser      = errors.New("belongs to another user")
	ErrBadKey         = errors.New("has an unusable private key")
)

// RemedyLogin is what to do about a log-in that does not serve.
const RemedyLogin = "run codex login"

// FileError says what is wrong with a file and what to do about it, on one line
// and without showing what the file holds.
type FileError struct {
	Path   string
	Line   int // from 1, 0 if no line is to blame
	Reason string
	Remedy string
	// Err is the cause if the system reported one.
	Err error

	// Unfinished says that the file may be one that is being written.
	Unfinished bool
}

// Error returns "path:line: reason; remedy".
func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": " + e.Reason)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the system's error, nil if there is none.
func (e *FileError) Unwrap() error { return e.Err }

// NewFileError returns what is wrong with the file at path, which holds raw. If err is
// from decoding raw as JSON, the error names the line.
func NewFileError(path string, raw []byte, err error, remedy string) *FileError {
	e := &FileError{Path: path, Reason: err.Error(), Remedy: remedy}
	if at, ok := errors.AsType[*strictjson.Error](err); ok {
		e.Unfinished = at.Syntax
		e.Line = 1 + bytes.Count(raw[:min(at.Offset, len(raw))], []byte("\n"))
		if len(raw) == 0 || at.Binary {
			e.Line = 0
		}
	}
	return e
}
