package issued

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// lastPath is where the newest second is kept in which a token was issued in this directory.
// Whoever revokes a label has to know it, for the clock may have been set back since.
func (t *Tokens) lastPath() string { return filepath.Join(t.dir, "last-issued") }

// lastIssued returns the second after which no token was issued, zero if none was. The caller
// holds the lock of the list.
func (t *Tokens) lastIssued() (time.Time, error) {
	raw, err := safefile.ReadPrivate(t.lastPath(), maxToken, safefile.OthersWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s, when the last client token was issued: %w", t.lastPath(), safefile.Cause(err))
	}
	last, err := time.Parse(time.RFC3339, strings.TrimSpace(string(raw)))
	if err != nil {
		return time.Time{}, fmt.Errorf("%s does not say when the last client token was issued; remove it, and %s", t.lastPath(), t.endAll())
	}
	return last, nil
}

// keepIssued keeps that a token was issued at a second, before anybody has it. The file is
// written once in a second at most. The caller holds the lock of the directory.
func (t *Tokens) keepIssued(at time.Time) error {
	last, err := t.lastIssued()
	if err != nil || !at.After(last) {
		return err
	}
	if err := safefile.WriteForOwner(t.lastPath(), []byte(at.UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("write when the last client token was issued: %w", err)
	}
	return nil
}

// forgetIssued forgets it, once another key has ended all tokens.
func (t *Tokens) forgetIssued() error {
	if err := os.Remove(t.lastPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", t.lastPath(), safefile.Cause(err))
	}
	return nil
}
