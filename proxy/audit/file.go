package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// FileConfig says how a [File] is written.
type FileConfig struct {
	Path string
	// Sync waits until a line has reached the disk before its decision is carried out.
	Sync bool
	// Continue carries out decisions that could not be written. A warning is logged, at
	// most once a minute, and the file later says how many are missing.
	Continue bool
	// Log gets a line when the file cannot be written.
	Log zerolog.Logger
}

// File is an [Auditor] that appends a line of JSON to a file for every decision. Each is
// one write(2), so that several processes can share the file.
type File struct {
	config FileConfig

	mu     sync.Mutex
	file   *os.File
	buf    bytes.Buffer
	line   []byte    // buf as it is written
	torn   bool      // the file ends in the midst of a line
	lost   int       // decisions since the last that could be written
	err    error     // why the last could not be written
	warned time.Time // when the log was last told
}

var _ Auditor = (*File)(nil)

const (
	auditWarnInterval = time.Minute
	// auditWriteTimeout bounds the wait for the reader of a pipe.
	auditWriteTimeout = 2 * time.Second
	auditTimeFormat   = "2006-01-02T15:04:05.000Z"
)

// OpenFile opens the file. If there is none, it makes one that only its owner can read.
func OpenFile(config FileConfig) (*File, error) {
	a := &File{config: config}
	var err error
	if a.file, a.torn, err = config.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func (c FileConfig) open() (f *os.File, torn bool, err error) {
	// Without O_NONBLOCK, opening a pipe that nobody reads would hang.
	f, err = os.OpenFile(c.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		torn, err = c.check(f)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, false, c.notOpened(err)
	}
	return f, torn, nil
}

// Check returns the error that [OpenFile] would return, as far as that can be told without
// making or changing a file. It looks besides whether the disk has space.
func (c FileConfig) Check() error {
	err := safefile.MayAppend(c.Path)
	if info, statErr := os.Stat(c.Path); err == nil && statErr == nil {
		err = c.checkMode(info)
	}
	if err != nil {
		return c.notOpened(err)
	}
	return nil
}

func (c FileConfig) notOpened(err error) error {
	return fmt.Errorf("open the audit log %s: %w; set audit.file to a file that can be appended to", c.Path, safefile.Cause(err))
}

// checkMode returns an error if others may write to the file.
func (c FileConfig) checkMode(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return nil
	}
	return safefile.CheckMode(c.Path, info, safefile.OthersWrite)
}

// check returns an error if the file cannot be an audit log. torn reports whether it ends
// within a line, as after a crash.
func (c FileConfig) check(f *os.File) (torn bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if c.Sync {
		if err := f.Sync(); err != nil {
			return false, fmt.Errorf("fsync: %w (audit.fsync)", safefile.Cause(err))
		}
	}
	if err := c.checkMode(info); err != nil {
		return false, err
	}
	return safefile.EndsWithinLine(f, c.Path), nil
}

// line is a line of the file. The names of its fields do not change.
type line struct {
	Time string `json:"time"`
	Decision
	Lost int `json:"lost,omitempty"`
}

func newLine(d Decision) line {
	return line{Time: d.Time.UTC().Format(auditTimeFormat), Decision: d}
}

// Waits reports whether Audit waits until a line has reached the disk.
func (a *File) Waits() bool { return a.config.Sync }

// Audit implements [Auditor].
func (a *File) Audit(d Decision) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.writeGap(d.Time)
	if err == nil {
		err = a.write(newLine(d))
	}
	if err == nil {
		return nil
	}
	a.lost++
	a.warn(d.Time)
	if a.config.Continue {
		return nil
	}
	return fmt.Errorf("%s: %w; free the disk or correct audit.file", a.config.Path, a.err)
}

// writeGap writes that decisions are missing, if any are.
func (a *File) writeGap(now time.Time) error {
	if a.lost == 0 {
		return nil
	}
	gap := newLine(Decision{Time: now, Verdict: "gap"})
	gap.Lost = a.lost
	err := a.write(gap)
	if err == nil {
		a.lost = 0
	}
	return err
}

// write appends a line, and keeps the error in a.err.
func (a *File) write(line line) error {
	a.buf.Reset()
	enc := json.NewEncoder(&a.buf)
	enc.SetEscapeHTML(false)
	if a.err = enc.Encode(line); a.err != nil {
		return a.err
	}
	a.line = a.line[:0]
	if a.torn {
		a.line = append(a.line, '\n')
	}
	a.line = strictjson.AppendPrintable(a.line, bytes.TrimSuffix(a.buf.Bytes(), []byte{'\n'}))
	a.line = append(a.line, '\n')
	a.err = a.append(a.line)
	return a.err
}

func (a *File) append(line []byte) error {
	_ = a.file.SetWriteDeadline(time.Now().Add(auditWriteTimeout)) // files know none
	n, err := a.file.Write(line)
	if n > 0 {
		a.torn = n < len(line)
	}
	if err == nil && a.config.Sync {
		err = a.file.Sync()
	}
	if err != nil {
		return safefile.Cause(err)
	}
	return nil
}

func (a *File) warn(now time.Time) {
	if !a.warned.IsZero() && now.Sub(a.warned) < auditWarnInterval {
		return
	}
	a.warned = now
	message := "the audit log cannot be written; requests are refused until it can"
	if a.config.Continue {
		message = "the audit log cannot be written; requests go on without it"
	}
	a.config.Log.Error().Str("file", a.config.Path).Int("lost", a.lost).AnErr("error", a.err).Msg(message)
}

// Check returns why decisions cannot be recorded, or nil. After a failure it tries again,
// with a line that says how many decisions were lost.
func (a *File) Check(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writeGap(now); err != nil {
		return fmt.Errorf("the audit log %s cannot be written: %w", a.config.Path, err)
	}
	return nil
}

// Failed returns why the last decision could not be recorded, nil if it could. It
// writes nothing.
func (a *File) Failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost == 0 {
		return nil
	}
	return fmt.Errorf("the audit log %s cannot be written: %w", a.config.Path, a.err)
}

// Reopen opens the path again, for when the file was moved away. If that fails, the former
// file stays in use.
func (a *File) Reopen() error {
	file, torn, err := a.config.open()
	if err != nil {
		return fmt.Errorf("%w; until then the former file is written to", err)
	}
	a.mu.Lock()
	former := a.file
	a.file, a.torn = file, torn
	a.mu.Unlock()
	return former.Close()
}

// Close closes the file. No decision may be recorded afterwards.
func (a *File) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}
