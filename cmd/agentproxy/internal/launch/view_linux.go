package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// The names of the view's files that are shown in place of others.
const (
	placeholderName = "placeholder/auth.json"
	dotenvFile      = "placeholder/dotenv"
	shownDir        = "placeholder/shown-"
)

// View returns the view of an isolated command. CodexHome must have an auth.json to cover,
// which [codexhome.Home.Hold] makes.
func (s Secrets) View() (View, error) {
	managed, err := codexhome.ReadManagedConfig()
	if err != nil {
		return View{}, fmt.Errorf("read Codex's managed configuration: %w", err)
	}
	if managed, err = codexhome.ManagedConfig(managed); err != nil {
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
	if _, ok := below(home, state); ok {
		return View{}, fmt.Errorf("%s is in the state directory, which has to be hidden from COMMAND; set state_dir to another directory", s.CodexHome)
	}
	v := View{
		Dir: state, Files: map[string][]byte{placeholderName: s.Placeholder},
		Links: s.Links,
		Show:  make(map[string]string),
		Guard: home, Abstract: s.Bus,
		System: map[string][]byte{codexhome.ManagedConfigFile: managed},
	}
	maps.Copy(v.Files, s.Files)
	auth := filepath.Join(home, "auth.json")
	v.Show[auth] = placeholderName
	if target, err := filepath.EvalSymlinks(auth); err == nil && target != auth {
		v.Show[target] = placeholderName
	}
	for path, content := range s.Shown {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return View{}, err
		}
		name := shownDir + strconv.Itoa(len(v.Files))
		v.Files[name], v.Show[target] = content, name
	}
	if raw, err := safefile.Read(filepath.Join(home, ".env"), codexhome.MaxFile); err == nil {
		clean, _ := codexhome.ScrubDotenv(string(raw), s.Dotenv)
		v.Files[dotenvFile] = []byte(clean)
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
		if codexhome.IsLoginCopy(entry.Name()) {
			v.hide(filepath.Join(home, entry.Name()))
		}
	}
	for _, path := range s.Paths {
		if real, err := filepath.EvalSymlinks(path); err == nil && real != home && v.isIn(real) {
			return View{}, fmt.Errorf("%s is to be hidden from COMMAND, and its own Codex home %s or the state directory is in it; move one of them", path, s.CodexHome)
		}
		v.hide(path)
		v.hideLater(path)
	}
	for _, path := range waysOut(home, s.Bus, s.Getenv) {
		v.hide(path)
		v.hideLater(path)
	}
	v.Pin = pins(home, filepath.Dir(state))
	if configs, err := filepath.EvalSymlinks(s.Configs); err == nil && s.Configs != "" {
		v.hide(configs)
		v.Pin = pins(home, filepath.Dir(state), filepath.Dir(configs))
	}
	return v, nil
}

// hide adds the file or directory at path, unless there is none or another is shown there.
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
	if v.isIn(path) {
		return // the Codex home, whose entries are hidden one by one, or a directory above it
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

// isIn reports whether the Codex home or the view's directory is at path or below.
func (v *View) isIn(path string) bool {
	_, home := below(v.Guard, path)
	_, own := below(v.Dir, path)
	return home || own
}

// hideLater adds path if nothing is there yet.
func (v *View) hideLater(path string) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && filepath.IsAbs(dir) {
		v.HideLater = append(v.HideLater, filepath.Join(dir, filepath.Base(path)))
	}
}

// pins returns the directories, and those above them, that the user could rename. For root,
// who could rename all, it returns none.
func pins(dirs ...string) []string {
	if os.Geteuid() == 0 {
		return nil
	}
	var found []string
	for _, dir := range dirs {
		for ; dir != "/"; dir = filepath.Dir(dir) {
			if unix.Access(filepath.Dir(dir), unix.W_OK) == nil && !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	slices.Sort(found) // parents first
	return found
}

// socketDirs returns the directories of sockets of Codex and of terminals, by which a command
// could run programs outside. Missing ones are made, so that later sockets are hidden, too.
func socketDirs() []string {
	uid := strconv.Itoa(os.Geteuid())
	return []string{"/tmp/codex-daemon-" + uid, "/tmp/tmux-" + uid}
}

// runtimeServers are the names, in XDG_RUNTIME_DIR, of sockets, and directories of sockets,
// of servers that run programs: of systemd, editors, terminals and virtual machines.
var runtimeServers = []string{"systemd", "emacs", "zellij", "wezterm", "libvirt"}

// waysOut returns the known sockets by which a command could run programs outside.
func waysOut(home string, bus bool, getenv func(string) string) []string {
	uid := strconv.Itoa(os.Geteuid())
	paths := append(socketDirs(),
		filepath.Join(home, "app-server-control"), filepath.Join(home, "app-server-daemon"))
	if socket, _, ok := strings.Cut(getenv("TMUX"), ","); ok {
		paths = append(paths, socket)
	}
	if dir := getenv("TMUX_TMPDIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "tmux-"+uid))
	}
	if u, err := user.Current(); err == nil {
		paths = append(paths, "/run/screen/S-"+u.Username, filepath.Join(u.HomeDir, ".screen"))
	}
	for _, name := range []string{"SCREENDIR", "NVIM", "VSCODE_IPC_HOOK_CLI"} {
		if path := getenv(name); path != "" {
			paths = append(paths, path)
		}
	}
	if path, ok := strings.CutPrefix(getenv("KITTY_LISTEN_ON"), "unix:/"); ok {
		paths = append(paths, "/"+path)
	}
	paths = append(paths, "/tmp/emacs"+uid, "/tmp/zellij-"+uid)
	runtimes := []string{"/run/user/" + uid}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" && filepath.Clean(dir) != runtimes[0] {
		runtimes = append(runtimes, filepath.Clean(dir))
	}
	for _, runtime := range runtimes {
		for _, name := range runtimeServers {
			paths = append(paths, filepath.Join(runtime, name))
		}
		editors, _ := filepath.Glob(filepath.Join(runtime, "nvim.*"))
		code, _ := filepath.Glob(filepath.Join(runtime, "vscode-*.sock"))
		paths = slices.Concat(paths, editors, code)
		if !bus {
			paths = append(paths, filepath.Join(runtime, "bus"), filepath.Join(runtime, "keyring"))
		}
	}
	if bus {
		return paths
	}
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
