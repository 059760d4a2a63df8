package codex

import (
	"errors"
	"sync"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// codexKeyringService names Codex's own entries in the system's keyring.
const codexKeyringService = "Codex Auth"

// entryInterval is how long what the keyring said is believed. Asking it means
// asking another process.
const entryInterval = 10 * time.Second

// codexKeyringAccount is the account of the entry for the Codex home at dir.
// It is named by a hash of the home's path.
func codexKeyringAccount(dir string) string { return "cli|" + safefile.PathID(dir) }

// codexKeyring reads and writes Codex's entry for one home. The zero value is a
// keyring without entries.
type codexKeyring struct {
	account string
	now     func() time.Time

	mu    sync.Mutex
	asked time.Time
	raw   string
}

// load returns the entry, "" if there is none or no keyring. That there is no
// keyring is the usual case on servers, and no error.
func (k *codexKeyring) load() string {
	if k.account == "" {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); k.asked.IsZero() || now.Sub(k.asked).Abs() >= entryInterval {
		k.asked, k.raw = now, ""
		if raw, err := keyring.Get(codexKeyringService, k.account); err == nil {
			k.raw = raw
		}
	}
	return k.raw
}

// forget makes the next load ask.
func (k *codexKeyring) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
}

var errNoKeyring = errors.New("the keyring holds no log-in")

// save replaces the entry.
func (k *codexKeyring) save(raw string) error {
	if k.account == "" {
		return errNoKeyring
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
	return keyring.Set(codexKeyringService, k.account, raw)
}
