package audit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

func openAudit(t *testing.T, config FileConfig) *File {
	t.Helper()
	a, err := OpenFile(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

var aTime = time.Date(2026, 4, 15, 12, 0, 0, 123456789, time.FixedZone("", 7200))

func aDecision() Decision {
	return Decision{
		Time: aTime, Verdict: VerdictSign, Client: "a<b", Peer: "127.0.0.1:1", Host: "chatgpt.com:443", Method: "POST",
		Path: "/x\n\x00\"y", Scheme: "Bearer", Task: "task-1", Signer: "bearer",
	}
}

const aLine = `{"time":"2026-04-15T10:00:00.123Z","decision":"sign","client":"a<b","peer":"127.0.0.1:1","host":"chatgpt.com:443",` +
	`"method":"POST","path":"/x\n\u0000\"y","credential":"Bearer","task":"task-1","signer":"bearer"}` + "\n"

func audit(t *testing.T, a *File) {
	t.Helper()
	if err := a.Audit(aDecision()); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %v\n%s\nwant\n%s", filepath.Base(path), err, got, want)
	}
}

func TestAuditFileAppends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	audit(t, openAudit(t, FileConfig{Path: path}))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	a := openAudit(t, FileConfig{Path: path, Sync: true})
	audit(t, a)
	// What somebody has cut off is not filled with zeros, as without O_APPEND.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	audit(t, a)
	wantFile(t, path, aLine)
}

func TestAuditFileReopens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, moved := filepath.Join(dir, "audit.log"), filepath.Join(dir, "audit.log.1")
	a := openAudit(t, FileConfig{Path: path})
	audit(t, a)
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	audit(t, a)
	if err := a.Reopen(); err != nil {
		t.Fatal(err)
	}
	audit(t, a)
	wantFile(t, moved, aLine+aLine)
	wantFile(t, path, aLine)

	// A file that cannot be opened anew stays in use.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.Reopen(); err == nil || !strings.Contains(err.Error(), "the former file is written to") {
		t.Errorf("error %v", err)
	}
	audit(t, a)
}

// A line that a crash or a full disk has cut short does not spoil the next.
func TestAuditFileAfterTornLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"time":"20`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := openAudit(t, FileConfig{Path: path})
	audit(t, a)
	audit(t, a)
	wantFile(t, path, `{"time":"20`+"\n"+aLine+aLine)
}

func TestAuditFileRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wide := filepath.Join(dir, "wide")
	if err := os.WriteFile(wide, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(wide, 0o622); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		wide:                          "permissions 0622 are too wide; run: chmod 644 " + wide,
		dir:                           "is a directory",
		filepath.Join(dir, "no", "x"): "no such file or directory",
	} {
		_, err := OpenFile(FileConfig{Path: path})
		if err == nil || !strings.HasPrefix(err.Error(), "open the audit log "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", path, err, want)
		}
	}
}

// Several processes may share a file: lines stay whole.
func TestAuditFileIsShared(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	var group sync.WaitGroup
	const writers, lines = 4, 500
	for range writers {
		a := openAudit(t, FileConfig{Path: path})
		group.Go(func() {
			for range lines {
				if err := a.Audit(aDecision()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	wantFile(t, path, strings.Repeat(aLine, writers*lines))
}

func BenchmarkAuditFile(b *testing.B) {
	a, err := OpenFile(FileConfig{Path: filepath.Join(b.TempDir(), "audit.log")})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	d := aDecision()
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Audit(d); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAuditFileCheck says what opening would say, and makes nothing.
func TestAuditFileCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wide := filepath.Join(dir, "wide")
	if err := os.WriteFile(wide, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(wide, 0o622); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for _, path := range []string{wide, dir, filepath.Join(dir, "no", "x")} {
		checked := FileConfig{Path: path}.Check()
		_, opened := OpenFile(FileConfig{Path: path})
		if checked == nil || opened == nil || checked.Error() != opened.Error() {
			t.Errorf("%s: it is checked with %v, and opened with %v", path, checked, opened)
		}
	}
	path := filepath.Join(dir, "new")
	if err := (FileConfig{Path: path}).Check(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made")
	}
}

// TestAuditFileIsPrintable records words of a client that control a terminal, turn text
// around or hide in it.
func TestAuditFileIsPrintable(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\x7f\u009b2J\u0085\u202eb\u2066\u200b\u2028\ufeff\U000e0041c"
	path := filepath.Join(t.TempDir(), "audit.log")
	d := aDecision()
	d.Client, d.Path, d.Method = evil, "/"+evil, evil
	if err := openAudit(t, FileConfig{Path: path}).Audit(d); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutSuffix(string(raw), "\n")
	if !ok || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", raw)
	}
	var got line
	if err := json.Unmarshal(raw, &got); err != nil || got.Client != evil || got.Path != "/"+evil || got.Method != evil {
		t.Errorf("%+v, %v", got, err)
	}
}
