package codex

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func write(t testing.TB, h *Home, content string) {
	t.Helper()
	if err := os.WriteFile(h.Path(), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openTest opens a new home whose waits are counted, and done by during.
func openTest(t testing.TB, during func(n int) error) (h *Home, waits *int) {
	h, waits = OpenHome(t.TempDir()), new(int)
	h.wait = func(_ context.Context, d time.Duration) error {
		*waits++
		identitytest.Equal(t, "interval", d, rereadInterval)
		if during == nil {
			return nil
		}
		return during(*waits)
	}
	return h, waits
}

// TestUpdateUnderLock takes Codex's locks under agentproxy's own, also where that is a
// file beside auth.json, as on Windows.
func TestUpdateUnderLock(t *testing.T) {
	for name, beside := range map[string]bool{"directory": runtime.GOOS == "windows", "file": true} {
		t.Run(name, func(t *testing.T) {
			h := OpenHome(t.TempDir())
			h.lockBeside = beside
			if err := os.WriteFile(h.Path(), []byte(`{"OPENAI_API_KEY":"a"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			unlock, err := h.Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			// Nobody else holds a lock: what it would wait for is its own.
			err = h.Update(ctx, func([]byte, *Auth) ([]byte, error) { return []byte(`{"OPENAI_API_KEY":"b"}`), nil })
			if err != nil {
				t.Fatal(err)
			}
			other := OpenHome(h.Dir())
			other.lockBeside = beside
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := other.Lock(ctx); err == nil {
				t.Error("two hold the lock")
			}
		})
	}
}

func TestDefaultHome(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"CODEX_HOME": "/c", "HOME": "/h"}, "/c"},
		{map[string]string{"HOME": "/h", "USERPROFILE": "/u"}, filepath.Join("/h", ".codex")},
		{map[string]string{"USERPROFILE": "/u"}, filepath.Join("/u", ".codex")},
	} {
		got, err := DefaultHome(func(name string) string { return tt.env[name] })
		if err != nil || got != tt.want {
			t.Errorf("%v: %q, %v", tt.env, got, err)
		}
	}
	identitytest.WantError(t, "set CODEX_HOME", func() error { _, err := DefaultHome(func(string) string { return "" }); return err })
}

func TestLoad(t *testing.T) {
	h, waits := openTest(t, nil)
	write(t, h, identitytest.AuthJSON())
	first, err := h.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	identitytest.Equal(t, "path", first.Path, filepath.Join(h.Dir(), "auth.json"))
	if again, err := h.Load(t.Context()); again != first || err != nil {
		t.Errorf("an unchanged file was parsed again: %v", err)
	}

	// As long, at the same moment, in place: only its bytes tell.
	info, err := os.Stat(h.Path())
	if err != nil {
		t.Fatal(err)
	}
	write(t, h, strings.Replace(identitytest.AuthJSON(), `"ws-1"`, `"ws-2"`, 1))
	if err := os.Chtimes(h.Path(), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if a, err := h.Load(t.Context()); err != nil || a.Tokens.AccountID != "ws-2" {
		t.Errorf("a change went unseen: %v", err)
	}

	// Once it is old enough, what the file system says suffices.
	h.now = func() time.Time { return time.Now().Add(time.Hour) }
	second, err := h.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	replacement := filepath.Join(h.Dir(), "new")
	if err := os.WriteFile(replacement, []byte(identitytest.AuthJSON()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(replacement, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if a, err := h.Load(t.Context()); a != second || err != nil {
		t.Errorf("an unchanged file was parsed again: %v", err)
	}
	if err := os.Rename(replacement, h.Path()); err != nil {
		t.Fatal(err)
	}
	if a, err := h.Load(t.Context()); err != nil || a.Tokens.AccountID != "ws-1" {
		t.Errorf("a replaced file went unseen: %v", err)
	}
	if err := os.Remove(h.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Load(t.Context()); !errors.Is(err, identity.ErrNoLogin) {
		t.Errorf("logged out: %v", err)
	}
	identitytest.Equal(t, "waits", *waits, 0)
}

func TestLoadHalfWritten(t *testing.T) {
	whole := identitytest.AuthJSON()
	for _, half := range []string{"", whole[:1], whole[:len(whole)/2], whole[:len(whole)-1]} {
		var h *Home
		h, waits := openTest(t, func(n int) error {
			if n == 3 {
				write(t, h, whole)
			}
			return nil
		})
		write(t, h, half)
		a, err := h.Load(t.Context())
		if err != nil || a.Tokens.AccountID != "ws-1" {
			t.Errorf("%.10q: %v", half, err)
		}
		identitytest.Equal(t, "waits", *waits, 3)
	}
}

func TestLoadStaysHalfWritten(t *testing.T) {
	h, waits := openTest(t, nil)
	write(t, h, identitytest.AuthJSON())
	if _, err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, h, "{\n\"tokens\":")
	// It is reported although an older version is known, and waited for once only.
	for range 3 {
		a, err := h.Load(t.Context())
		if a != nil {
			t.Error("credentials of a file that is gone were used")
		}
		identitytest.Equal(t, "error", err.Error(), h.Path()+":2: ends in the middle; run codex login")
	}
	identitytest.Equal(t, "waits", *waits, rereadTimes)
	write(t, h, identitytest.AuthJSON())
	if _, err := h.Load(t.Context()); err != nil {
		t.Errorf("repaired: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	load := func(h *Home) error { _, err := h.Load(t.Context()); return err }
	for _, tt := range []struct{ name, content, text string }{
		{"binary", "\x00\x01\x02\x80", ": not text; run codex login"},
		{"empty", "", ": empty; run codex login"},
		{"mode", `{"auth_mode":"x"}`, `:1: auth_mode: "x" is not a mode`},
		{"large", strings.Repeat(" ", maxAuthBytes+1), ": larger than 1 MiB"},
	} {
		h, _ := openTest(t, nil)
		write(t, h, tt.content)
		err := load(h)
		identitytest.WantError(t, h.Path()+tt.text, func() error { return err })
		if e, ok := errors.AsType[*identity.FileError](err); !ok || e.Path != h.Path() || e.Remedy == "" {
			t.Errorf("%s: %#v", tt.name, err)
		}
	}

	h, waits := openTest(t, nil)
	identitytest.WantError(t, "no ChatGPT log-in: "+h.Path()+" does not exist; run codex login", func() error { return load(h) })
	if err := os.Mkdir(h.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	identitytest.WantError(t, h.Path()+": not a regular file", func() error { return load(h) })
	missing := OpenHome(filepath.Join(h.Dir(), "missing"))
	err := load(missing)
	identitytest.WantError(t, "no ChatGPT log-in: "+missing.Dir()+" does not exist", func() error { return err })
	if !errors.Is(err, identity.ErrNoLogin) {
		t.Errorf("%v is not ErrNoLogin", err)
	}
	notDir := filepath.Join(h.Dir(), "file")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	identitytest.WantError(t, "not a directory", func() error { return load(OpenHome(notDir)) })
	identitytest.Equal(t, "waits", *waits, 0)

	denied := h.openError(&fs.PathError{Op: "open", Path: h.Path(), Err: fs.ErrPermission})
	identitytest.Equal(t, "denied", denied.Error(), h.Path()+": permission denied; let the user who runs agentproxy read it")
	if !errors.Is(denied, fs.ErrPermission) {
		t.Error("the cause is lost")
	}

	h, _ = openTest(t, nil)
	write(t, h, identitytest.AuthJSON(`"agent_identity":7`))
	a, err := h.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	identitytest.WantError(t, h.Path()+":1: agent_identity: expected object", func() error { return a.RecordErr })
}

func TestLoadHonoursContext(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()

	h := OpenHome(t.TempDir()) // with the real wait
	write(t, h, "{")
	if _, err := h.Load(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("while waiting for the file: %v", err)
	}
	h.lock <- struct{}{}
	if _, err := h.Load(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("while another reads: %v", err)
	}
	<-h.lock
	if err := retry.Sleep(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}

// Readers never see a half-written file while somebody writes as Codex does.
func TestLoadConcurrently(t *testing.T) {
	h := OpenHome(t.TempDir())
	contents := []string{identitytest.AuthJSON(), identitytest.AuthJSON(`"agent_identity":` + identitytest.RecordA)}
	write(t, h, contents[0])
	var whole sync.Mutex // held while the file is not
	h.wait = func(context.Context, time.Duration) error {
		whole.Lock()
		defer whole.Unlock()
		return nil
	}
	stop := make(chan struct{})
	var readers, writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			whole.Lock()
			f, err := os.OpenFile(h.Path(), os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				whole.Unlock()
				t.Error(err)
				return
			}
			content := contents[i%2]
			for _, part := range []string{content[:len(content)/2], content[len(content)/2:]} {
				f.WriteString(part)
				time.Sleep(time.Millisecond)
			}
			f.Close()
			whole.Unlock()
			time.Sleep(time.Millisecond)
		}
	})
	for range 4 {
		readers.Go(func() {
			for range 100 {
				a, err := h.Load(t.Context())
				if err != nil || a.Tokens.AccountID != "ws-1" {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
}
