package launch

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// guard covers the log-ins that appear in a directory while the command runs. A
// mount does not outlive the file that it lies on: whoever replaces the file from
// outside, as Codex does when it refreshes its tokens, lays it bare.
type guard struct {
	view    *View
	dir     string
	watcher *fsnotify.Watcher
	tell    func(report)
	device  uint64 // of the view's files
	drafts  map[string]bool
}

// newGuard begins to watch. What happens before run is called is kept.
func newGuard(v *View, tell func(report)) (*guard, error) {
	watcher, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, err
	}
	if err := watcher.Add(v.Guard); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, watcher.Close())
	}
	device, err := deviceOf(filepath.Join(v.Dir, emptyFile))
	if err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	return &guard{v, v.Guard, watcher, tell, device, make(map[string]bool)}, nil
}

func deviceOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return uint64(info.Sys().(*syscall.Stat_t).Dev), nil
}

// run covers what appears until the watcher is closed.
func (g *guard) run() {
	for event := range g.watcher.Events {
		g.see(event)
	}
}

// see does what an event asks for.
func (g *guard) see(event fsnotify.Event) {
	base := filepath.Base(event.Name)
	if strings.HasPrefix(base, loginDraft) {
		g.seeDraft(event, base)
		return
	}
	path := filepath.Join(g.dir, base)
	shown, isShown := g.view.Show[path]
	if !event.Has(fsnotify.Create) || !isShown && !IsLoginCopy(base) {
		return
	}
	if device, err := deviceOf(path); err != nil || device == g.device {
		return
	}
	if err := g.view.bindOver(cmp.Or(shown, emptyFile), path, 0); err == nil && isShown {
		g.tell(report{Exposed: true})
	}
}

// seeDraft follows the file that Codex writes a log-in to before it renames it. It
// is left as it is: a mount on it would keep its maker inside from removing it.
func (g *guard) seeDraft(event fsnotify.Event, base string) {
	switch {
	case event.Has(fsnotify.Create):
		g.drafts[base] = true
	case event.Has(fsnotify.Remove):
		// It did not become auth.json. Only who is inside fails at that.
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
