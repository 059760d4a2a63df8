package codex

import (
	"errors"
	"sync"
	"time"

	"github.com/zalando/go-keyring"
)

// Codex's entries in the system's keyring have one service, and an account for each home.
const (
	entryService = "Codex Auth"
	entryAccount = "cli|" // and the [safefile.PathID] of the home
)

// entryInterval is how long an answer of the keyring counts. Asking it means asking
// another process.
const entryInterval = 10 * time.Second

// keyringEntry reads and writes Codex's entry for one home. The zero value is a
// keyring without entries.
type keyringEntry struct {
	account string
	now     func() time.Time

	mu    sync.Mutex
	asked time.Time
	raw   string
}

// load returns the entry, "" if there is none or no keyring: servers usually have none.
func (k *keyringEntry) load() string {
	if k.account == "" {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); k.asked.IsZero() || now.Sub(k.asked).Abs() >= entryInterval {
		k.asked, k.raw = now, ""
		if raw, err := keyring.Get(entryService, k.account); err == nil {
			k.raw = raw
		}
	}
	return k.raw
}

// forget makes the next load ask the keyring.
func (k *keyringEntry) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
}

var errNoKeyring = errors.New("the keyring holds no log-in")

// save replaces the entry.
func (k *keyringEntry) save(raw string) error {
	if k.account == "" {
		return errNoKeyring
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
	return keyring.Set(entryService, k.account, raw)
}

// remove removes the entry, if there is one.
func (k *keyringEntry) remove() {
	if k.account == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
	_ = keyring.Delete(entryService, k.account) // where there is no keyring there is no entry
}
