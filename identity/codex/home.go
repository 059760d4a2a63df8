package codex

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	// A file that Codex is writing is whole again within 250 ms.
	rereadTimes    = 50
	rereadInterval = 5 * time.Millisecond
)

// DefaultHome returns the Codex home directory of an environment: $CODEX_HOME, else .codex
// in $HOME, else in $USERPROFILE. The directory need not exist.
func DefaultHome(getenv func(string) string) (string, error) {
	if dir := getenv("CODEX_HOME"); dir != "" {
		return dir, nil
	}
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := getenv(name); home != "" {
			return filepath.Join(home, ".codex"), nil
		}
	}
	return "", errors.New("no Codex home: neither CODEX_HOME nor HOME is set; set CODEX_HOME")
}

// Home is a Codex home directory. It is safe for concurrent use.
type Home struct {
	dir string

	lock    chan struct{} // a mutex that waits no longer than a context
	last    reading       // of the file
	held    reading       // of the keyring
	keyring *keyringEntry
	writing chan struct{} // another, for [Home.Lock]
	claimed atomic.Bool   // nobody can read the file, nor write it
	inPlace bool
	own     bool
	// lockBeside says that the system can neither lock a directory nor read a locked file.
	lockBeside bool

	now  func() time.Time
	wait func(context.Context, time.Duration) error
}

// reading is what auth.json, or the keyring, held when it was last read.
type reading struct {
	info fs.FileInfo // nil if it never was
	sum  [sha256.Size]byte
	read time.Time
	auth *Auth
	err  error
}

// OpenHome returns the Codex home at dir, which need not exist yet.
func OpenHome(dir string) *Home {
	return &Home{dir: dir, lock: make(chan struct{}, 1), writing: make(chan struct{}, 1), keyring: new(keyringEntry), lockBeside: runtime.GOOS == "windows", now: time.Now, wait: retry.Sleep}
}

// WithKeyring makes h read Codex's entry in the system's keyring if there is no auth.json,
// or none but a [Placeholder], which agentproxy run puts there for the time of a run. It
// returns h.
func (h *Home) WithKeyring() *Home {
	h.keyring = &keyringEntry{account: entryAccount + safefile.PathID(h.dir), now: h.now}
	return h
}

// ForgetKeyring has the next [Home.Load] ask the keyring anew, if it has to. Its answers count
// for ten seconds otherwise.
func (h *Home) ForgetKeyring() { h.keyring.forget() }

// InPlace makes h write over auth.json instead of replacing it: a mount that hides the
// file from somebody would go with the file. It returns h.
func (h *Home) InPlace() *Home {
	h.inPlace = true
	return h
}

// Own says that the log-in in h is agentproxy's own. It returns h.
func (h *Home) Own() *Home {
	h.own = true
	return h
}

// Dir returns the directory.
func (h *Home) Dir() string { return h.dir }

// Path returns the path of auth.json.
func (h *Home) Path() string { return filepath.Join(h.dir, "auth.json") }

// Load returns the parsed auth.json. It reads the file only if it has changed. Callers
// share the result and must not change it.
//
// Older versions of Codex do not write the file at once. Load reads one that is empty or
// not JSON again for 250 ms before it returns an error. It does so although an older
// version of the file is known, for the tokens in that may have been revoked.
//
// The error wraps [identity.ErrNoLogin] if there is no such file, and is a
// [*identity.FileError] if there is one that cannot be used.
func (h *Home) Load(ctx context.Context) (*Auth, error) {
	select {
	case h.lock <- struct{}{}:
		defer func() { <-h.lock }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h.claimed.Load() && h.last.info != nil {
		return h.last.auth, h.last.err
	}
	for i := 0; ; i++ {
		r, fresh, err := h.read()
		if errors.Is(err, identity.ErrNoLogin) {
			if raw := h.keyring.load(); raw != "" {
				return h.readKeyring(raw)
			}
		}
		if err != nil {
			h.last = reading{}
			return nil, err
		}
		e, _ := errors.AsType[*identity.FileError](r.err)
		if !fresh || e == nil || !e.Unfinished || i == rereadTimes {
			h.last = r
			if r.auth.isPlaceholder() {
				if raw := h.keyring.load(); raw != "" {
					return h.readKeyring(raw)
				}
			}
			return r.auth, r.err
		}
		if err := h.wait(ctx, rereadInterval); err != nil {
			return nil, err
		}
	}
}

// readKeyring returns the log-in in raw, the entry of the keyring. It parses raw only if
// the entry has changed.
func (h *Home) readKeyring(raw string) (*Auth, error) {
	sum := sha256.Sum256([]byte(raw))
	if h.held.sum != sum {
		h.held = reading{sum: sum}
		h.held.auth, h.held.err = h.parse(keyringName(h.keyring.account), []byte(raw))
		if h.held.auth != nil {
			h.held.auth.InKeyring = true
		}
	}
	return h.held.auth, h.held.err
}

func keyringName(account string) string {
	return fmt.Sprintf("the system's keyring (service %s, account %s)", entryService, account)
}

// read reads auth.json. It returns h.last if nothing has changed, and reports whether what
// it returns is new. The error says why the file cannot be read; an error in the content
// is in the reading.
func (h *Home) read() (r reading, fresh bool, err error) {
	path := h.Path()
	info, err := os.Stat(path)
	if err != nil {
		return r, false, h.openError(err)
	}
	if safefile.Unchanged(h.last.info, info, h.last.read) {
		return h.last, false, nil
	}
	// info is of the file that was opened, and from before it is read: a change
	// meanwhile makes the next Load read again.
	f, info, err := safefile.Open(path)
	if err != nil {
		return r, false, h.openError(err)
	}
	defer f.Close()
	raw, err := safefile.ReadAll(f, maxAuthBytes)
	if err != nil {
		return r, false, h.openError(err)
	}
	r = reading{info: info, sum: sha256.Sum256(raw), read: h.now()}
	// An error counts for the very file that it was found in alone: another write that
	// stops at the same byte has to be waited for as well.
	if h.last.info != nil && h.last.sum == r.sum && (h.last.err == nil || safefile.SameVersion(h.last.info, info)) {
		r.auth, r.err = h.last.auth, h.last.err
		return r, false, nil
	}
	r.auth, r.err = h.parse(path, raw)
	return r, true, nil
}

// parse parses the log-in, and has it know whose it is.
func (h *Home) parse(path string, raw []byte) (*Auth, error) {
	auth, err := parseAuth(path, raw)
	if auth != nil {
		auth.Own = h.own
	}
	if e, ok := errors.AsType[*identity.FileError](err); ok && h.own {
		e.Remedy = remedyLogin(true)
	}
	return auth, err
}

// openError says why auth.json cannot be read, and what to do about it.
func (h *Home) openError(err error) error {
	path := h.Path()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(h.dir); errors.Is(err, fs.ErrNotExist) {
			path = h.dir
		}
		return fmt.Errorf("%w: %s does not exist; %s", identity.ErrNoLogin, path, remedyLogin(h.own))
	case errors.Is(err, fs.ErrPermission):
		return &identity.FileError{Path: path, Reason: "permission denied", Remedy: "let the user who runs agentproxy read it", Err: err}
	case errors.Is(err, safefile.ErrNotRegular):
		return &identity.FileError{Path: path, Reason: safefile.Cause(err).Error(), Remedy: "remove it and " + remedyLogin(h.own)}
	case errors.Is(err, safefile.ErrTooLarge):
		return tooLarge(path)
	}
	err = safefile.Cause(err)
	return &identity.FileError{Path: path, Reason: err.Error(), Remedy: "see that it is a readable file", Err: err}
}
