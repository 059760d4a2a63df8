package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Each line is one write(2): a pipe in packet mode returns what was written one
// by one.
func TestAuditFileWritesOnce(t *testing.T) {
	t.Parallel()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	defer r.Close()
	a := &File{file: w}
	defer a.Close()
	audit(t, a)
	audit(t, a)
	for range 2 {
		packet := make([]byte, 4096)
		if n, err := r.Read(packet); err != nil || string(packet[:n]) != aLine {
			t.Errorf("%v: one write was %q", err, packet[:n])
		}
	}
}

// A pipe whose reader is gone, or that is full, fails as a disk does: nothing
// hangs.
func TestAuditFileOnPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(FileConfig{Path: path}); !errors.Is(err, unix.ENXIO) {
		t.Errorf("without a reader: %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := OpenFile(FileConfig{Path: path, Sync: true}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "audit.fsync") {
		t.Errorf("a pipe that is to be synced: %v", err)
	}
	a := openAudit(t, FileConfig{Path: path})
	audit(t, a)
	for err = nil; err == nil; {
		err = a.Audit(aDecision())
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a full pipe: %v", err)
	}
	a.config.Sync = true // every line is synced, not only the opening
	if _, err := reader.Read(make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	if err := a.Audit(aDecision()); !errors.Is(err, unix.EINVAL) {
		t.Errorf("what cannot be synced: %v", err)
	}
	reader.Close()
	if err := a.Audit(aDecision()); !errors.Is(err, unix.EPIPE) {
		t.Errorf("without a reader any more: %v", err)
	}
}

// A line of which a part was written is ended before the next.
func TestAuditFileTornByFullDisk(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := &File{file: w}
	defer a.Close()
	long := aDecision()
	long.Path = strings.Repeat("x", 1<<20) // more than a pipe takes
	if err := a.Audit(long); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	drained := make([]byte, 1<<20)
	if n, err := r.Read(drained); err != nil || n == len(drained) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	audit(t, a)
	n, err := r.Read(drained)
	want := "\n" + `{"time":"2026-04-15T10:00:00.123Z","decision":"gap","lost":1}` + "\n" + aLine
	if got := string(drained[:n]); err != nil || got != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
}

// full is a disk without space, and one that has some again.
func full(t *testing.T, config FileConfig) (a *File, free func() (path string)) {
	t.Helper()
	config.Path = "/dev/full"
	a = openAudit(t, config)
	return a, func() string {
		a.config.Path = filepath.Join(t.TempDir(), "audit.log")
		if err := a.Reopen(); err != nil {
			t.Fatal(err)
		}
		return a.config.Path
	}
}

func TestAuditFileOnFullDiskRefuses(t *testing.T) {
	t.Parallel()
	a, free := full(t, FileConfig{})
	for range 3 {
		err := a.Audit(aDecision())
		if err == nil || !strings.Contains(err.Error(), "/dev/full: no space left on device; free the disk") {
			t.Errorf("error %v", err)
		}
	}
	if err := a.Check(aTime); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("Check: %v", err)
	}
	path := free()
	// Whether it works again is found out without a request.
	if err := a.Check(aTime); err != nil {
		t.Errorf("Check: %v", err)
	}
	audit(t, a)
	wantFile(t, path, `{"time":"2026-04-15T10:00:00.123Z","decision":"gap","lost":3}`+"\n"+aLine)
}

func TestAuditFileOnFullDiskContinues(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a, free := full(t, FileConfig{Continue: true, Log: zerolog.New(&log)})
	d := aDecision()
	for range 60 { // 10 minutes
		if err := a.Audit(d); err != nil {
			t.Fatal(err)
		}
		d.Time = d.Time.Add(10 * time.Second)
	}
	var last struct{ Lost int }
	lines := bufio.NewScanner(strings.NewReader(log.String()))
	n := 0
	for ; lines.Scan(); n++ {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil || !strings.Contains(lines.Text(), "requests go on without it") {
			t.Errorf("%v: %s", err, lines.Text())
		}
	}
	if n != 10 || last.Lost != 55 {
		t.Errorf("warned %d times, the last time of %d lost", n, last.Lost)
	}
	path := free()
	audit(t, a)
	wantFile(t, path, `{"time":"2026-04-15T10:00:00.123Z","decision":"gap","lost":60}`+"\n"+aLine)
}
