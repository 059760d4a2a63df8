package launch

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Secrets is what a command must not see, and what it sees instead.
type Secrets struct {
	CodexHome   string
	StateDir    string
	Placeholder []byte            // of auth.json
	Files       map[string][]byte // to be found in StateDir
	Paths       []string          // further files and directories that hold secrets
	Bus         bool              // whether the session bus is left alone
	Dotenv      []string          // the variables that a .env file must not set
	Getenv      func(string) string
}

// The names in the view of what is shown in the place of others.
const (
	placeholderName = "placeholder/auth.json"
	dotenvFile      = "placeholder/dotenv"
)

// View returns the view of a command that is isolated. What it lays something over
// must be there: CodexHome's auth.json is, by [Home.Hold].
func (s Secrets) View() (View, error) {
	managed, err := readManagedConfig()
	if err != nil {
		return View{}, fmt.Errorf("read Codex's managed configuration: %w", err)
	}
	if managed, err = ManagedConfig(managed); err != nil {
		return View{}, err
	}
	home, err := filepath.EvalSymlinks(s.CodexHome)
	if err != nil {
		return View{}, err
	}
	if home, err = filepath.Abs(home); err != nil {
		return View{}, err
	}
	state, err := filepath.EvalSymlinks(s.StateDir)
	if err != nil {
		return View{}, err
	}
	for _, inside := range []string{home} {
		if _, ok := below(inside, state); ok {
			return View{}, &Unsupported{s.CodexHome + " is in the state directory, which has to be hidden", "set state_dir to another directory"}
		}
	}
	v := View{
		Dir: state, Files: map[string][]byte{placeholderName: s.Placeholder},
		Show:   make(map[string]string),
		Guard:  home,
		System: map[string][]byte{managedConfig: managed},
	}
	for name, content := range s.Files {
		v.Files[name] = content
	}
	auth := filepath.Join(home, "auth.json")
	v.Show[auth] = placeholderName
	if target, err := filepath.EvalSymlinks(auth); err == nil && target != auth {
		v.Show[target] = placeholderName
	}
	if raw, err := os.ReadFile(filepath.Join(home, ".env")); err == nil {
		v.Files[dotenvFile] = []byte(ScrubDotenv(string(raw), s.Dotenv))
		target, err := filepath.EvalSymlinks(filepath.Join(home, ".env"))
		if err != nil {
			return View{}, err
		}
		v.Show[target] = dotenvFile
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		return View{}, err
	}
	for _, entry := range entries {
		if IsLoginCopy(entry.Name()) {
			v.hide(filepath.Join(home, entry.Name()))
		}
	}
	for _, path := range s.Paths {
		v.hide(path)
	}
	for _, path := range waysOut(home, s.Bus, s.Getenv) {
		v.hide(path)
	}
	return v, nil
}

// hide adds what is at path, if anything is, unless something is shown there.
func (v *View) hide(path string) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	if path, err = filepath.Abs(path); err != nil {
		return
	}
	if _, shown := v.Show[path]; shown {
		return
	}
	if _, ok := below(v.Guard, path); ok {
		return // the Codex home itself, which is looked after entry by entry
	}
	if _, ok := below(path, v.Dir); ok {
		return // hidden already
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.IsDir():
		v.HideDirs = append(v.HideDirs, path)
	case info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == 0:
		v.HideFiles = append(v.HideFiles, path)
	}
}

// socketDirs are the directories in which servers of the user outside would take
// commands from inside, and run them there: Codex's own, and terminals'. They are
// made where they are not there yet, so that they are hidden when they come.
func socketDirs() []string {
	uid := strconv.Itoa(os.Geteuid())
	return []string{"/tmp/codex-daemon-" + uid, "/tmp/tmux-" + uid}
}

// waysOut returns the sockets by which a command could have something done outside,
// as far as it is known what they are for.
func waysOut(home string, bus bool, getenv func(string) string) []string {
	paths := append(socketDirs(),
		filepath.Join(home, "app-server-control"), filepath.Join(home, "app-server-daemon"))
	if socket, _, ok := strings.Cut(getenv("TMUX"), ","); ok {
		paths = append(paths, socket)
	}
	if dir := getenv("TMUX_TMPDIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "tmux-"+strconv.Itoa(os.Geteuid())))
	}
	if dir := getenv("SCREENDIR"); dir != "" {
		paths = append(paths, dir)
	}
	if u, err := user.Current(); err == nil {
		paths = append(paths, "/run/screen/S-"+u.Username, filepath.Join(u.HomeDir, ".screen"))
	}
	runtime := getenv("XDG_RUNTIME_DIR")
	if runtime == "" {
		runtime = "/run/user/" + strconv.Itoa(os.Geteuid())
	}
	paths = append(paths, filepath.Join(runtime, "systemd", "private"))
	if bus {
		return paths
	}
	paths = append(paths, filepath.Join(runtime, "bus"), filepath.Join(runtime, "keyring"))
	for address := range strings.SplitSeq(getenv("DBUS_SESSION_BUS_ADDRESS"), ";") {
		options, _ := strings.CutPrefix(address, "unix:")
		for option := range strings.SplitSeq(options, ",") {
			if path, ok := strings.CutPrefix(option, "path="); ok {
				paths = append(paths, path)
			}
		}
	}
	if dir := getenv("GNOME_KEYRING_CONTROL"); dir != "" {
		paths = append(paths, dir)
	}
	return paths
}
