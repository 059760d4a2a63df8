package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Entry is a line of a [File].
type Entry struct {
	Time    time.Time
	Client  string // the session label
	Profile string // "" for clients that have none
	Tokens
}

// entryLine is an entry as it is written. The names of its fields do not change.
type entryLine struct {
	Time    string `json:"time"`
	Client  string `json:"client,omitempty"`
	Profile string `json:"profile,omitempty"`
	Model   string `json:"model,omitempty"`
	Input   int64  `json:"input_tokens"`
	Cached  int64  `json:"cached_tokens"`
	Output  int64  `json:"output_tokens"`
}

const (
	// queueLength bounds the entries that wait to be written. A disk that takes
	// longer loses some: no response waits for it.
	queueLength = 1024
	// writeTimeout bounds the wait for whoever reads from a pipe.
	writeTimeout = 2 * time.Second
	timeFormat   = "2006-01-02T15:04:05.000Z"
)

// File is a file that a line of JSON is appended to for each response, each in one
// write(2), so that several processes can share it. It must be closed. It is safe
// for concurrent use.
type File struct {
	path  string
	tell  func(error)
	queue chan Entry
	done  chan struct{}

	mu     sync.Mutex // over what follows
	file   *appended
	failed bool
	lost   int
}

// OpenFile opens the file at path, which it makes with mode 0600 if there is none.
// tell is told why an entry could not be written, and with nil when one could be
// again; it must not call back.
func OpenFile(path string, tell func(error)) (*File, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, tell: tell, queue: make(chan Entry, queueLength), done: make(chan struct{}), file: file}
	go f.run()
	return f, nil
}

// appended is a file that lines are appended to, by one goroutine.
type appended struct {
	*os.File
	torn bool // it ends within a line
}

func open(path string) (*appended, error) {
	// Without O_NONBLOCK the opening of a pipe that nobody reads would hang.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, notOpened(path, err)
	}
	return &appended{file, safefile.EndsWithinLine(file, path)}, nil
}

// CheckFile returns the error that [OpenFile] would return, as far as that can be told
// without making or changing a file. It looks besides whether the disk has space.
func CheckFile(path string) error {
	if err := safefile.MayAppend(path); err != nil {
		return notOpened(path, err)
	}
	return nil
}

func notOpened(path string, err error) error {
	return fmt.Errorf("open the usage file %s: %w; set usage.file to a file that can be appended to", path, safefile.Cause(err))
}

// Log has an entry written. It never waits: an entry for which there is no place is
// lost.
func (f *File) Log(e Entry) {
	select {
	case f.queue <- e:
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lost++
	}
}

// Lost returns how many entries could not be written so far.
func (f *File) Lost() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// run writes what is queued until the file is closed.
func (f *File) run() {
	defer close(f.done)
	for e := range f.queue {
		f.write(e)
	}
}

func (f *File) write(e Entry) {
	_, err := contain.Call(nil, func() (any, error) { return nil, f.append(e) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.lost++
	}
	if failed := err != nil; failed != f.failed {
		f.failed = failed
		f.tell(err)
	}
}

// append appends an entry to the file.
func (f *File) append(e Entry) error {
	raw, err := json.Marshal(entryLine{e.Time.UTC().Format(timeFormat), e.Client, e.Profile, e.Model, e.Input, e.Cached, e.Output})
	if err != nil {
		return err
	}
	current := func() *appended {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.file
	}
	if err = current().writeLine(raw); errors.Is(err, os.ErrClosed) { // Reopen has put another in its place
		err = current().writeLine(raw)
	}
	return err
}

func (a *appended) writeLine(raw []byte) error {
	var line []byte
	if a.torn {
		line = append(line, '\n')
	}
	line = append(strictjson.AppendPrintable(line, raw), '\n')
	_ = a.SetWriteDeadline(time.Now().Add(writeTimeout)) // which regular files have none of
	n, err := a.Write(line)
	if n > 0 {
		a.torn = n < len(line)
	}
	return err
}

// Reopen goes on with a new file at the path, for one that was moved away.
func (f *File) Reopen() error {
	file, err := open(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	former := f.file
	f.file = file
	f.mu.Unlock()
	// Whoever is writing to it is let end.
	return former.Close()
}

// Close writes what is queued, and closes the file. Nothing may be logged any more.
func (f *File) Close() error {
	close(f.queue)
	<-f.done
	return f.file.Close()
}
