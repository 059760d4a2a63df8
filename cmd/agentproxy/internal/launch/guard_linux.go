package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// maxLaid bounds the covers of a guard. The kernel bounds the mounts of a namespace, and a
// command that makes copies without end must not use them up.
const maxLaid = 10_000

// guard covers files that are replaced, and new ones, while the command runs. A mount does
// not outlive the file that it lies on: a Codex outside that refreshes its tokens replaces
// auth.json, and the new file would be bare.
type guard struct {
	view    *View
	covers  map[string]cover
	watcher *fsnotify.Watcher
	tell    func(report)
	drafts  map[string]bool
	laid    int
}

// newGuard begins to watch, and covers what was replaced before. Events before run is called
// are kept.
func newGuard(v *View, covers map[string]cover, tell func(report)) (_ *guard, err error) {
	watcher, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, watcher.Close())
		}
	}()
	g := &guard{view: v, covers: covers, watcher: watcher, tell: tell, drafts: make(map[string]bool)}
	dirs := map[string]bool{v.Guard: true}
	for path := range covers {
		dirs[filepath.Dir(path)] = true
	}
	for dir := range dirs {
		err := watcher.Add(dir)
		// Directories of other users cannot be watched.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && (dir == v.Guard || !errors.Is(err, fs.ErrPermission)) {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return g, g.sweep()
}

func deviceOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return uint64(info.Sys().(*syscall.Stat_t).Dev), nil
}

// run covers what appears until the watcher is closed. If it returns an error, the command
// must be killed.
func (g *guard) run() error {
	for {
		select {
		case event, ok := <-g.watcher.Events:
			if !ok {
				return nil
			}
			if err := g.see(event); err != nil {
				return err
			}
		case err, ok := <-g.watcher.Errors:
			if !ok {
				return nil
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			// Events were lost.
			if err := g.sweep(); err != nil {
				return err
			}
		}
	}
}

// sweep covers all that has to be covered and is bare.
func (g *guard) sweep() error {
	for path := range g.covers {
		if err := g.look(path); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(g.view.Guard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if isCopy(entry.Name()) {
			if err := g.look(filepath.Join(g.view.Guard, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// isCopy reports whether a new file of that name is to be covered. Drafts are not: their
// maker inside could not remove a mount point.
func isCopy(name string) bool {
	return codexhome.IsLoginCopy(name) && !strings.HasPrefix(name, codexhome.LoginDraft)
}

// see handles an event.
func (g *guard) see(event fsnotify.Event) error {
	if event.Name == g.view.Guard && (event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)) {
		return errors.New("the Codex home was replaced from outside")
	}
	dir, base := filepath.Split(event.Name)
	inHome := filepath.Clean(dir) == g.view.Guard
	if inHome && strings.HasPrefix(base, codexhome.LoginDraft) {
		g.seeDraft(event, base)
		return nil
	}
	if _, known := g.covers[event.Name]; !event.Has(fsnotify.Create) || !known && !(inHome && isCopy(base)) {
		return nil
	}
	return g.look(event.Name)
}

// look covers the file or directory at path, if it is bare.
func (g *guard) look(path string) error {
	c, known := g.covers[path]
	// The target of a link is covered, which may be another by now.
	named := path
	if real, err := filepath.EvalSymlinks(path); known && err == nil {
		path = real
	}
	device, err := deviceOf(path)
	if err != nil {
		return nil // it is gone
	}
	if g.view.devices[device] {
		_, isShown := g.view.Show[named]
		if !isShown || safefile.Same(path, filepath.Join(g.view.Dir, c.name)) {
			return nil
		}
		// A covered file was moved here.
	}
	if g.laid++; g.laid > maxLaid {
		return fmt.Errorf("more than %d files had to be hidden", maxLaid)
	}
	if err := g.view.lay(c, path); err != nil {
		if _, statErr := os.Lstat(path); statErr != nil {
			return nil // it is gone meanwhile
		}
		return err
	}
	if _, isShown := g.view.Show[named]; isShown && !g.view.devices[device] {
		g.tell(report{Exposed: true})
	}
	return nil
}

// seeDraft handles an event of a file that Codex writes a log-in to before it renames it.
func (g *guard) seeDraft(event fsnotify.Event, base string) {
	switch {
	case event.Has(fsnotify.Create):
		g.drafts[base] = true
	case event.Has(fsnotify.Remove):
		// It did not become auth.json. That fails only inside.
		if g.drafts[base] {
			g.tell(report{Login: true})
		}
		delete(g.drafts, base)
	case event.Has(fsnotify.Rename):
		delete(g.drafts, base)
	}
}

// close ends the watch.
func (g *guard) close() { _ = g.watcher.Close() }
