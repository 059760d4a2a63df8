package codex

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	exportRecord = `{"agent_runtime_id":"exported"}`
	exportLogin  = `{"auth_mode":"chatgpt","OPENAI_API_KEY":"the log-in's"}`
)

// exportInto writes a record into a home, where it has to go into the log-in.
func exportInto(t *testing.T, h *Home) {
	t.Helper()
	if err := h.WriteIdentity(t.Context(), []byte(exportRecord)); err != nil {
		t.Error(err)
	}
}

// TestExportDuringLogin exports into a home in which somebody logs in meanwhile.
func TestExportDuringLogin(t *testing.T) {
	t.Run("before it is made", func(t *testing.T) {
		keyring.MockInit()
		h := OpenHome(t.TempDir())
		// The keyring is asked when there is no file.
		h.keyring = &keyringEntry{account: "none", now: func() time.Time { write(t, h, exportLogin); return time.Now() }}
		exportInto(t, h)
		raw, err := os.ReadFile(h.Path())
		if err != nil || !strings.Contains(string(raw), "the log-in's") || !strings.Contains(string(raw), "exported") {
			t.Errorf("%v: %s", err, raw)
		}
	})
	t.Run("at any moment", func(t *testing.T) {
		for i := range 50 {
			h := OpenHome(t.TempDir())
			done := make(chan error, 1)
			go func() { // codex login
				time.Sleep(time.Duration(i) * 100 * time.Microsecond) // any moment will do
				unlock, err := h.lockAsCodex(t.Context())
				if err == nil {
					err = safefile.Write(h.Path(), []byte(exportLogin), 0o600)
					unlock()
				}
				done <- err
			}()
			exportInto(t, h)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if raw, err := os.ReadFile(h.Path()); err != nil || !strings.Contains(string(raw), "the log-in's") {
				t.Fatalf("round %d: %v: %s", i, err, raw)
			}
		}
	})
	t.Run("a link that leads nowhere", func(t *testing.T) {
		h := OpenHome(t.TempDir())
		if err := os.Symlink(h.Path()+".none", h.Path()); err != nil {
			t.Fatal(err)
		}
		err := h.WriteIdentity(t.Context(), []byte(exportRecord))
		if err == nil || !strings.Contains(err.Error(), "left as it is") {
			t.Errorf("error %v", err)
		}
	})
}
