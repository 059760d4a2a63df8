package usage

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "usage.jsonl")
	f, err := OpenFile(path, func(err error) { t.Errorf("told of %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 4, 15, 10, 0, 0, 123_000_000, time.UTC)
	f.Log(Entry{at, "build\n42", "builds", Tokens{"gpt", 3, 1, 2}})
	eventuallyHolds(t, path, `{"time":"2026-04-15T10:00:00.123Z","client":"build\n42","profile":"builds","model":"gpt","input_tokens":3,"cached_tokens":1,"output_tokens":2}`+"\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			for range 50 {
				f.Log(Entry{at, "", "", Tokens{"", 1, 0, 0}})
			}
		})
	}
	wait.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q", line)
		}
	}
	if len(lines)+f.Lost() != 500 || f.Lost() > 0 {
		t.Errorf("%d lines, %d lost", len(lines), f.Lost())
	}
	if _, err := OpenFile(filepath.Join(path, "x"), nil); err == nil || !strings.Contains(err.Error(), "set usage.file") {
		t.Errorf("%v", err)
	}
}

func eventuallyHolds(t *testing.T, path, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		raw, _ := os.ReadFile(path)
		if string(raw) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s holds %q, want %q", path, raw, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestFileFails: what cannot be written is counted, told of once, and keeps nobody
// waiting.
func TestFileFails(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 10)
	f, err := OpenFile("/dev/full", func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * queueLength {
		f.Log(Entry{Tokens: Tokens{"", 1, 0, 0}})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f.Lost() != 3*queueLength || len(told) != 1 || (<-told) == nil {
		t.Errorf("%d lost, told %d times", f.Lost(), len(told))
	}
}

// TestFileTorn: a line of which a part was written, by a full disk or before a crash, spoils
// none that comes after.
func TestFileTorn(t *testing.T) {
	t.Parallel()
	const line = `"client":"b","input_tokens":1,"cached_tokens":0,"output_tokens":0}` + "\n"
	e := Entry{Client: "b", Tokens: Tokens{Input: 1}}
	read := func(raw []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`"time":"[^"]*",`).ReplaceAllString(string(raw), "")
	}
	path := filepath.Join(t.TempDir(), "usage.jsonl")
	tear := func() {
		t.Helper()
		if err := os.WriteFile(path, []byte(`{"clie`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tear()
	f, err := OpenFile(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	tear()
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	f.Log(e)
	f.Log(e)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := read(os.ReadFile(path)), `{"clie`+"\n{"+line+"{"+line; got != want {
		t.Errorf("%q, want %q", got, want)
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pipe := &appended{File: w}
	if err := pipe.writeLine(make([]byte, 1<<20)); err == nil { // more than it takes
		t.Fatal("a full pipe took all")
	}
	drained := make([]byte, 1<<20)
	if _, err := r.Read(drained); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pipe.writeLine([]byte("a")), pipe.writeLine([]byte("b"))); err != nil {
		t.Fatal(err)
	}
	n, err := r.Read(drained)
	if got := read(drained[:n], err); got != "\na\nb\n" {
		t.Errorf("%q after a line that is torn", got)
	}
}
