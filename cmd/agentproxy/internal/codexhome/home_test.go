package codexhome

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var testPlaceholder = []byte("placeholder\n")

// homeRig is a user's Codex home and what runs keep of it.
type homeRig struct {
	t            *testing.T
	state, users string
}

func newHomeRig(t *testing.T) *homeRig {
	t.Helper()
	dir := t.TempDir()
	r := &homeRig{t, filepath.Join(dir, "state"), filepath.Join(dir, "users")}
	r.write(filepath.Join(r.users, "auth.json"), "log-in")
	return r
}

func (r *homeRig) write(path, content string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// reads checks what a file holds; "" is that there is none.
func (r *homeRig) reads(path, want string) {
	r.t.Helper()
	raw, err := os.ReadFile(path)
	if want == "" && err == nil || want != "" && string(raw) != want {
		r.t.Errorf("%s holds %q, %v; want %q", path, raw, err, want)
	}
}

func (r *homeRig) open() *Home {
	r.t.Helper()
	h, err := OpenHome(r.state, r.users, func(raw []byte) bool { return bytes.Equal(raw, testPlaceholder) }, func(err error) { r.t.Errorf("warned: %v", err) })
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

func (r *homeRig) private(h *Home) string {
	r.t.Helper()
	private, err := h.Private(testPlaceholder, []string{"HTTPS_PROXY"})
	if err != nil {
		r.t.Fatal(err)
	}
	return private
}

func (r *homeRig) close(h *Home) {
	r.t.Helper()
	if err := h.Close(); err != nil {
		r.t.Error(err)
	}
}

// kill has the run that uses h end as one that was killed: its lock is gone.
func (r *homeRig) kill(h *Home) {
	r.t.Helper()
	if err := h.lock.Unlock(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *homeRig) names() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.users)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// TestHomeLeavesDirectories has empty directories in the user's home: those that were
// there stay, and those that a run has made go.
func TestHomeLeavesDirectories(t *testing.T) {
	r := newHomeRig(t)
	want := []string{"auth.json", "memories", "shell_snapshots"}
	for _, name := range want[1:] {
		if err := os.Mkdir(filepath.Join(r.users, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := r.open()
	r.private(h)
	r.close(h)
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("after a private home: %v, want %v", got, want)
	}
	// Made meanwhile by a Codex in no run, and not linked.
	if err := os.Remove(filepath.Join(r.users, "shell_snapshots")); err != nil {
		t.Fatal(err)
	}
	r.close(r.open())
	if err := os.Mkdir(filepath.Join(r.users, "shell_snapshots"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.close(r.open())
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("after another run: %v, want %v", got, want)
	}
}

// TestHomeBringsHome has a command make and change files in a private home.
func TestHomeBringsHome(t *testing.T) {
	for _, killed := range []bool{false, true} {
		r := newHomeRig(t)
		at := func(name string) string { return filepath.Join(r.users, name) }
		r.write(at("config.toml"), "old")
		r.write(at("newer.json"), "old")
		r.write(at("state_5.sqlite"), "the user's")
		r.write(at("removed.json"), "old")
		h := r.open()
		private := r.private(h)
		in := func(name string) string { return filepath.Join(private, name) }
		for _, name := range []string{"auth.json.bak", ".auth-x"} {
			r.write(in(name), "changed inside")
		}
		r.write(in("sessions/2026/rollout.jsonl"), "session")
		r.write(in("new/below/file"), "new")
		r.write(in("app-server-control/socket"), "gone")
		for name, content := range map[string]string{"config.toml": "new", "newer.json": "inside", "state_5.sqlite": "another", "state_6.sqlite": "first"} {
			r.write(in("draft"), content) // as Codex does
			if err := os.Rename(in("draft"), in(name)); err != nil {
				t.Fatal(err)
			}
		}
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(at("newer.json"), later, later); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(at("removed.json")); err != nil {
			t.Fatal(err)
		}
		if killed {
			r.kill(h)
			h = r.open()
		}
		r.close(h)
		for name, want := range map[string]string{
			"auth.json": "log-in", "auth.json.bak": "", ".auth-x": "",
			"sessions/2026/rollout.jsonl": "session", "new/below/file": "new", "app-server-control/socket": "",
			"config.toml": "new", "config.toml.from-run": "",
			"newer.json": "old", "newer.json.from-run": "inside",
			"state_5.sqlite": "the user's", "state_5.sqlite.from-run": "another", "state_6.sqlite": "first",
			"removed.json": "",
		} {
			r.reads(at(name), want)
		}
		h = r.open()
		r.reads(filepath.Join(r.private(h), "config.toml"), "new")
		r.reads(filepath.Join(r.private(h), "auth.json"), string(testPlaceholder))
		r.close(h)
	}
}

// TestHomeIsShared has two runs at once, of which the last brings home what is new.
func TestHomeIsShared(t *testing.T) {
	r := newHomeRig(t)
	first, second := r.open(), r.open()
	private := r.private(first)
	if again := r.private(second); again != private {
		t.Errorf("two homes: %s, %s", private, again)
	}
	r.write(filepath.Join(private, "new"), "of both")
	r.close(first)
	r.reads(filepath.Join(private, "new"), "of both")
	r.reads(filepath.Join(r.users, "new"), "")
	r.close(second)
	r.reads(filepath.Join(r.users, "new"), "of both")
}

// TestHomeHolds has no log-in in a file: a placeholder lies there for the time of
// runs, and a log-in that takes its place stays.
func TestHomeHolds(t *testing.T) {
	for _, killed := range []bool{false, true} {
		r := newHomeRig(t)
		auth := filepath.Join(r.users, "auth.json")
		if err := os.Remove(auth); err != nil {
			t.Fatal(err)
		}
		first, second := r.open(), r.open()
		for _, h := range []*Home{first, second} {
			if err := h.Hold(testPlaceholder); err != nil {
				t.Fatal(err)
			}
		}
		r.reads(auth, string(testPlaceholder))
		r.close(first)
		r.reads(auth, string(testPlaceholder))
		if killed {
			r.kill(second)
			second = r.open()
		}
		r.close(second)
		r.reads(auth, "")

		h := r.open()
		if err := h.Hold(testPlaceholder); err != nil {
			t.Fatal(err)
		}
		r.write(auth, "log-in")
		r.close(h)
		r.reads(auth, "log-in")
		h = r.open()
		if err := h.Hold(testPlaceholder); err != nil {
			t.Fatal(err)
		}
		r.close(h)
		r.reads(auth, "log-in")
	}
}

// TestHomePathStays: a link to a home is that home, and Codex keeps the path.
func TestHomePathStays(t *testing.T) {
	r := newHomeRig(t)
	link := filepath.Join(t.TempDir(), "link with spaces, é")
	if err := os.Symlink(r.users, link); err != nil {
		t.Fatal(err)
	}
	h := r.open()
	private := r.private(h)
	r.close(h)
	r.users = link
	h = r.open()
	if again := r.private(h); again != private {
		t.Errorf("the private home of a link is %s, want %s", again, private)
	}
	r.close(h)
}

// TestHomeWithDotenv: a private home has the .env without what leads past the proxy.
func TestHomeWithDotenv(t *testing.T) {
	r := newHomeRig(t)
	r.write(filepath.Join(r.users, ".env"), "A=1\nHTTPS_PROXY=http://elsewhere\n")
	h := r.open()
	private := r.private(h)
	r.reads(filepath.Join(private, ".env"), "A=1\n")
	r.close(h)
	r.reads(filepath.Join(r.users, ".env"), "A=1\nHTTPS_PROXY=http://elsewhere\n")
	if err := os.Remove(filepath.Join(r.users, ".env")); err != nil {
		t.Fatal(err)
	}
	h = r.open()
	r.reads(filepath.Join(r.private(h), ".env"), "")
	r.close(h)
	if names := strings.Join(r.names(), " "); names != "auth.json" {
		t.Errorf("the home has %s", names)
	}
}

// TestHomeKeepsLogin: a log-in that a command has made where it does not belong is
// kept beside the user's own, and told of.
func TestHomeKeepsLogin(t *testing.T) {
	r := newHomeRig(t)
	h := r.open()
	r.write(filepath.Join(r.private(h), "auth.json"), "another log-in")
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "auth.json.from-run") {
		t.Errorf("Close: %v", err)
	}
	r.reads(filepath.Join(r.users, "auth.json"), "log-in")
	r.reads(filepath.Join(r.users, "auth.json.from-run"), "another log-in")
}
