package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	// tokenFileInterval is the least time between two looks at a tokens file.
	tokenFileInterval = time.Second / 2
	maxTokenFile      = 1 << 20
)

// TokenFile is a file of tokens and the session labels that they are for. It is read again
// when it changes. A file with a mistake in it does not replace what was read before.
type TokenFile struct {
	path   string
	checks *bcryptChecks
	now    func() time.Time
	table  atomic.Pointer[tokenTable]

	mu      sync.Mutex // over what follows, all about looking for changes
	looked  time.Time
	read    time.Time
	info    fs.FileInfo // of the file that was read last
	mistake string      // that was told last
}

// OpenTokenFile reads the tokens file at path.
func OpenTokenFile(path string) (*TokenFile, error) {
	f := &TokenFile{path: path, checks: newBcryptChecks(), now: time.Now}
	f.looked = f.now()
	if err := f.reread(); err != nil {
		return nil, err
	}
	return f, nil
}

// Path returns the path of the file.
func (f *TokenFile) Path() string { return f.path }

// Token returns a token that is in the file for label, and not as a hash.
func (f *TokenFile) Token(label string) (string, bool) {
	lines, _, err := readTokenFile(f.path)
	if err != nil {
		return "", false
	}
	for _, l := range lines {
		if !l.hashed() && (l.label == label || l.label == anyLabel) {
			return l.token, true
		}
	}
	return "", false
}

// Labels returns the labels whose tokens are in the file, and not as hashes, in its order.
func (f *TokenFile) Labels() (labels []string) {
	lines, _, _ := readTokenFile(f.path)
	for _, l := range lines {
		if !l.hashed() && l.label != anyLabel && !slices.Contains(labels, l.label) {
			labels = append(labels, l.label)
		}
	}
	return labels
}

var errWrongToken = errors.New("no such token for this label")

// admit sets the session label of a client that gave a user name and this token in the
// proxy URL. Its errors are errWrongToken and errBusy.
func (f *TokenFile) admit(ctx context.Context, a *Admission, token string) error {
	t := f.table.Load()
	if !IsToken(token) {
		return errWrongToken
	}
	if label, ok := t.findPlain(a.user, a.digest); ok {
		a.Label = label
		return nil
	}
	if len(t.hashed) == 0 {
		return errWrongToken
	}
	candidates := t.candidates(a.user)
	if len(token) > maxHashedToken {
		candidates = nil // it could only fit by its beginning
	}
	h, ok, err := f.checks.find(ctx, candidates, token, t.comparisons, t.decoy)
	if err != nil {
		return err
	}
	if !ok {
		return errWrongToken
	}
	a.Label, a.hash = sessionLabel(a.user, h.label), h.hash
	return nil
}

// refreshIfChanged reads the file again if it has changed. Of several callers at once, one
// does so, and the others use what is known.
func (f *TokenFile) refreshIfChanged(log *zerolog.Logger) {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.looked) < tokenFileInterval {
		return
	}
	f.looked = now
	info, err := os.Stat(f.path)
	if err == nil && safefile.Unchanged(f.info, info, f.read) {
		return
	}
	err = f.reread()
	switch {
	case err == nil && f.mistake != "":
		f.mistake = ""
		log.Info().Msg("the tokens file is in order again")
	case err != nil && err.Error() != f.mistake:
		f.mistake = err.Error()
		log.Warn().AnErr("error", err).Msg("the tokens file has changed and cannot be used; the tokens that were in it still hold")
	}
}

// Reread reads the file now, whether or not it seems to have changed. If there is a mistake
// in it, the tokens that were read before still hold.
func (f *TokenFile) Reread() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reread()
}

// reread is Reread with mu held.
func (f *TokenFile) reread() error {
	f.read = f.now()
	lines, info, err := readTokenFile(f.path)
	f.info = info
	if err != nil {
		return err
	}
	table, err := newTokenTable(lines)
	if err != nil {
		return fmt.Errorf("%s:%w", f.path, err)
	}
	f.table.Store(table)
	return nil
}

func readTokenFile(path string) ([]tokenLine, fs.FileInfo, error) {
	const remedy = "write a line LABEL:TOKEN there, with a token such as the output of: openssl rand -hex 32"
	file, info, err := safefile.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; %s", path, safefile.Cause(err), remedy)
	}
	defer file.Close()
	if err := safefile.CheckMode(path, info, safefile.BeyondGroup); err != nil {
		return nil, info, fmt.Errorf("%s: %w", path, err)
	}
	raw, err := safefile.ReadAll(file, maxTokenFile)
	if err != nil {
		return nil, info, fmt.Errorf("%s is %w; a tokens file has a line for each client", path, safefile.Cause(err))
	}
	lines, err := parseTokens(raw)
	if err != nil {
		return nil, info, fmt.Errorf("%s:%w", path, err)
	}
	if len(lines) == 0 {
		return nil, info, fmt.Errorf("%s has no token; %s", path, remedy)
	}
	return lines, info, nil
}
