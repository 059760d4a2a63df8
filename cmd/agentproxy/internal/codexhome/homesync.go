package codexhome

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// keptName ends the names of files that were not moved over the user's own, newer ones.
const keptName = ".from-run"

// bring moves new files of the private home to the user's. The next run tries again to move
// those that cannot be moved.
func (h *Home) bring() error {
	home := h.privatePath()
	entries, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		from := filepath.Join(home, name)
		switch {
		case name == "auth.json":
			// The placeholder stays as long as the private home does.
			if raw, err := safefile.Read(from, MaxFile); err == nil && !h.isPlaceholder(raw) {
				to := freeName(filepath.Join(h.users, name+keptName))
				errs = append(errs, moveOver(from, to), fmt.Errorf("COMMAND has logged in; the log-in is in %s", to))
			}
		case slices.Contains(notShared, name), strings.HasPrefix(name, ".agentproxy-"):
			errs = append(errs, os.RemoveAll(from))
		case IsLoginCopy(name):
			// A copy of the placeholder, or of codex login, which belongs outside.
			errs = append(errs, os.RemoveAll(from))
		case h.isOurs(from, name):
			if _, err := os.Lstat(filepath.Join(h.users, name)); errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, os.Remove(from)) // the user has removed it
			}
		default:
			errs = append(errs, moveOver(from, filepath.Join(h.users, name)))
		}
	}
	errs = append(errs, h.removeMade())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bring home what Codex has made in %s: %w; nothing is lost, and it is tried again by the next run", home, err)
	}
	return nil
}

// removeMade removes the directories that makeFirst has made and that are empty.
func (h *Home) removeMade() error {
	made, err := os.ReadDir(h.madePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range made {
		name := entry.Name()
		link := filepath.Join(h.privatePath(), name)
		if os.Remove(filepath.Join(h.users, name)) == nil && h.isOurs(link, name) { // it was empty
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(h.madePath()))...)
}

// isOurs reports whether the entry at path is a link that Private has made.
func (h *Home) isOurs(path, name string) bool {
	target, err := os.Readlink(path)
	return err == nil && target == filepath.Join(h.users, name)
}

// moveOver moves a file or directory. It replaces an older file at to. A newer one stays, and
// from is put beside it. Directories are merged.
func moveOver(from, to string) error {
	source, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if source.Mode()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0 {
		return os.Remove(from) // nobody uses it any more
	}
	target, err := os.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return move(from, to, source)
	case err != nil:
		return err
	case source.IsDir() && target.IsDir():
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := moveOver(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
				return err
			}
		}
		return os.Remove(from)
	case !source.Mode().IsRegular() || !target.Mode().IsRegular() || target.ModTime().After(source.ModTime()),
		strings.Contains(filepath.Base(to), ".sqlite"): // a database is not replaced by one that began empty
		return move(from, freeName(to+keptName), source)
	}
	return move(from, to, source)
}

// freeName returns name, with a number behind it if there is such a file.
func freeName(name string) string {
	free := name
	for i := 2; ; i++ {
		if _, err := os.Lstat(free); errors.Is(err, fs.ErrNotExist) {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, i)
	}
}

// move renames from to to, or copies it to another file system.
func move(from, to string, info fs.FileInfo) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	if err := copyTo(from, to, info); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

func copyTo(from, to string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.IsDir():
		if err := os.Mkdir(to, info.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err == nil {
				err = copyTo(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()), info)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case !info.Mode().IsRegular():
		return nil
	}
	return copyFile(from, to, info)
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".agentproxy-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
