//go:build linux

// Command escape tries to read what agentproxy run hides from its command. It is
// run inside, where no way may lead to a secret, and outside, where the plain ones
// must.
//
// Each way is tried in a process of its own. The result is a line of JSON for each.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// target is what to look for.
type target struct {
	Home       string   // the Codex home
	State      string   // the state directory
	Agentproxy string   // the program
	Config     string   // its configuration
	Scratch    string   // a directory to work in
	Sockets    []string // paths, or @ and a name, where servers outside tell the secret
	URLs       []string // of servers outside
}

func (t target) auth() string { return filepath.Join(t.Home, "auth.json") }

// Result is what came of a way.
type Result struct {
	Way     string
	Plain   bool   // the way works where nothing is hidden
	Got     []byte // what was read
	Reached string // what should have been out of reach, whatever is in it
	Err     string
}

// way is one try. It returns what it has read.
type way struct {
	name  string
	plain bool
	flags uintptr // of the namespaces that it is tried in, as root there
	try   func(target) ([]byte, error)
}

// reached is the error of a way that got somewhere where no secret need be.
type reached string

func (r reached) Error() string { return string(r) }

// maxGot bounds what a way may read.
const maxGot = 1 << 20

// ways are all.
func ways() []way {
	var all []way
	for _, group := range [][]way{fileWays(), procWays(), mountWays(), inheritedWays(), otherWays()} {
		all = append(all, group...)
	}
	return all
}

func main() {
	var t target
	raw := flag.String("target", "", "a target in JSON")
	key := flag.String("key", "", "only put this into a keyring of the kernel")
	only := flag.String("way", "", "try this way only")
	flag.Parse()
	if *key != "" {
		if err := addKey(*key); err != nil {
			fmt.Fprintln(os.Stderr, "escape: add a key:", err)
			os.Exit(1)
		}
		return
	}
	if err := json.Unmarshal([]byte(*raw), &t); err != nil {
		fmt.Fprintln(os.Stderr, "escape:", err)
		os.Exit(2)
	}
	if *only != "" {
		tryHere(t, *only)
		return
	}
	out, files := json.NewEncoder(os.Stdout), inherited()
	for _, w := range ways() {
		if err := out.Encode(tryInChild(w, *raw, files)); err != nil {
			os.Exit(1)
		}
	}
}

// inherited returns the descriptors that this program was started with, from the
// third on: those that it opens are closed when it executes another.
func inherited() []*os.File {
	files := make([]*os.File, maxInherited-3)
	for i := range files {
		if flags, err := unix.FcntlInt(uintptr(i+3), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			files[i] = os.NewFile(uintptr(i+3), "inherited")
		}
	}
	return files
}

// tryInChild tries a way in a process of its own, with the descriptors that this one
// was started with.
func tryInChild(w way, raw string, files []*os.File) Result {
	cmd := exec.Command("/proc/self/exe", "-target", raw, "-way", w.name)
	cmd.Stdin = os.Stdin
	cmd.ExtraFiles = files
	if w.flags != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  w.flags,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{Way: w.name, Plain: w.plain}
	if jsonErr := json.Unmarshal(stdout.Bytes(), &r); jsonErr != nil {
		r.Err = fmt.Sprintf("%v %s", err, stderr.String())
	}
	return r
}

// tryHere tries a way and prints what came of it.
func tryHere(t target, name string) {
	for _, w := range ways() {
		if w.name != name {
			continue
		}
		r := Result{Way: w.name, Plain: w.plain}
		got, err := w.try(t)
		r.Got = got[:min(len(got), maxGot)]
		if err != nil {
			r.Err = err.Error()
		}
		if far, ok := err.(reached); ok {
			r.Reached = string(far)
		}
		_ = json.NewEncoder(os.Stdout).Encode(r)
		return
	}
	os.Exit(2)
}

// readTree reads all files, but for programs, below a directory.
func readTree(dir string) ([]byte, error) {
	var all []byte
	var first error
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var raw []byte
			if raw, err = os.ReadFile(path); err == nil && len(raw) < maxGot/8 {
				all = append(all, raw...)
			}
		}
		if err != nil && first == nil {
			first = err
		}
		return nil
	})
	return all, first
}

// readHome reads all files in a directory, one of which may be auth.json, without
// its subdirectories.
func readHome(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			if raw, err := os.ReadFile(filepath.Join(dir, entry.Name())); err == nil {
				all = append(all, raw...)
			}
		}
	}
	return all, nil
}

// readAll reads a descriptor to its end.
func readAll(fd int) ([]byte, error) {
	var all []byte
	for b := make([]byte, 1<<16); ; {
		n, err := unix.Pread(fd, b, int64(len(all)))
		if n <= 0 {
			return all, err
		}
		all = append(all, b[:n]...)
	}
}
