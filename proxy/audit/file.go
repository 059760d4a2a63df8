package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// FileConfig says how an [AuditFile] is written.
type FileConfig struct {
	Path string
	// Sync has every line reach the disk before its decision is carried out.
	Sync bool
	// Continue lets decisions be carried out that could not be written. The log
	// is told, once a minute at most, and the file how many are missing.
	Continue bool
	// Log is told when the file cannot be written.
	Log zerolog.Logger
}

// File is an [Auditor] that appends a line of JSON for every decision to a
// file, each in one write(2), so that several processes can share it.
type File struct {
	config FileConfig

	mu     sync.Mutex
	file   *os.File
	buf    bytes.Buffer
	torn   bool      // the file ends in the midst of a line
	lost   int       // decisions since the last that could be written
	err    error     // why the last could not be written
	warned time.Time // when the log was last told
}

var _ Auditor = (*File)(nil)

const (
	auditWarnInterval = time.Minute
	// auditWriteTimeout bounds the wait for whoever reads from a pipe.
	auditWriteTimeout = 2 * time.Second
	auditTimeFormat   = "2006-01-02T15:04:05.000Z"
)

// OpenFile opens the file, and makes it, readable by its owner alone, where
// there is none.
func OpenFile(config FileConfig) (*File, error) {
	a := &File{config: config}
	var err error
	if a.file, a.torn, err = config.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func (c FileConfig) open() (f *os.File, torn bool, err error) {
	// Without O_NONBLOCK the opening of a pipe that nobody reads would hang.
	f, err = os.OpenFile(c.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		torn, err = c.check(f)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, false, fmt.Errorf("open the audit log %s: %w; set audit.file to a file that can be appended to", c.Path, safefile.Cause(err))
	}
	return f, torn, nil
}

// check refuses a file that is of no use as an audit log, and reports whether it
// ends in the midst of a line, as after a crash.
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
	if !info.Mode().IsRegular() {
		return false, nil
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 && runtime.GOOS != "windows" {
		return false, fmt.Errorf("others can write to it (mode %#o): run chmod 600 on it", perm)
	}
	if info.Size() == 0 {
		return false, nil
	}
	old, err := os.Open(c.Path)
	if err != nil {
		return false, nil // it may be written only; a torn line is bad luck
	}
	defer old.Close()
	var last [1]byte
	_, err = old.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n', nil
}

// auditLine is a line of the file. The names of its fields do not change.
type auditLine struct {
	Time     string `json:"time"`
	Decision string `json:"decision"`
	Client   string `json:"client,omitempty"`
	Profile  string `json:"profile,omitempty"`
	Peer     string `json:"peer,omitempty"`
	Host     string `json:"host,omitempty"`
	Method   string `json:"method,omitempty"`
	Path     string `json:"path,omitempty"`
	Scheme   string `json:"credential,omitempty"`
	Task     string `json:"task,omitempty"`
	Signer   string `json:"signer,omitempty"`
	Refused  string `json:"refused,omitempty"`

	OutOfScope string `json:"out_of_scope,omitempty"`
	Times      int    `json:"times,omitempty"`
	Lost       int    `json:"lost,omitempty"`
}

// Audit implements [Auditor].
func (a *File) Audit(d Decision) error {
	line := auditLine{
		Time: d.Time.UTC().Format(auditTimeFormat), Decision: string(d.Verdict), Client: d.Client, Profile: d.Profile, Peer: d.Peer, Host: d.Host,
		Method: d.Method, Path: d.Path, Scheme: string(d.Scheme), Task: d.Task, Signer: d.Signer, Refused: d.Refused,
		OutOfScope: string(d.OutOfScope), Times: d.Times,
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.writeGap(d.Time)
	if err == nil {
		err = a.write(line)
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

// writeGap says in the file that decisions before it are missing, if any are.
func (a *File) writeGap(now time.Time) error {
	if a.lost == 0 {
		return nil
	}
	err := a.write(auditLine{Time: now.UTC().Format(auditTimeFormat), Decision: "gap", Lost: a.lost})
	if err == nil {
		a.lost = 0
	}
	return err
}

// write appends a line, and keeps in a.err whether that worked.
func (a *File) write(line auditLine) error {
	a.buf.Reset()
	if a.torn {
		a.buf.WriteByte('\n')
	}
	enc := json.NewEncoder(&a.buf)
	enc.SetEscapeHTML(false)
	a.err = enc.Encode(line)
	if a.err == nil {
		a.err = a.append(a.buf.Bytes())
	}
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

// Check returns why decisions cannot be recorded, or nil. After a failure it
// tries anew, with a line that says how many decisions were lost.
func (a *File) Check(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writeGap(now); err != nil {
		return fmt.Errorf("the audit log %s cannot be written: %w", a.config.Path, err)
	}
	return nil
}

// Reopen opens the file's path anew, for after the file was moved away. If that
// fails, the former file stays in use.
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

// Close closes the file. No decision may be recorded any more.
func (a *File) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}
