package runner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// clientEnv returns how COMMAND finds the proxy at address, with its files in dir.
func (r *runner) clientEnv(dir clientenv.Dir, address, token string) (clientenv.Env, error) {
	return clientenv.New(clientenv.Options{
		Config: r.app.Config, Env: r.options.Env, CA: r.ca, Dir: dir, Address: address, Label: runLabel, Token: token, Warn: r.messages.Warn,
	})
}

// environ returns the environment of COMMAND.
func (r *runner) environ(e clientenv.Env) []string {
	run := r.app.Config.Run.Env
	filter := launch.Environment{
		Secret: r.secretVariables, Pass: run.Pass, Drop: run.Drop,
		Bus: r.isolation == nil || r.keepsBus(),
	}
	environ, dropped := filter.Filter(r.options.Env.Environ())
	if len(dropped) > 0 {
		slices.Sort(dropped)
		r.messages.Warn("kept from COMMAND, whose requests are signed by the proxy: " + strings.Join(slices.Compact(dropped), ", ") + "; run.env.pass lets a variable through")
	}
	environ = e.Apply(environ)
	// The bundle has the roots of that directory, too.
	return slices.DeleteFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, "SSL_CERT_DIR=") })
}

// keepsBus reports whether COMMAND may use the session bus.
func (r *runner) keepsBus() bool {
	return slices.Contains(r.app.Config.Run.Env.Pass, "DBUS_SESSION_BUS_ADDRESS")
}

// runIsolated runs COMMAND in the namespaces.
func (r *runner) runIsolated(ctx context.Context, home *codexhome.Home, address, token string) error {
	state, err := filepath.EvalSymlinks(r.app.Config.StateDir)
	if err != nil {
		return err
	}
	files := make(map[string][]byte)
	e, err := r.clientEnv(clientenv.ViewDir(state, files), address, token)
	if err != nil {
		return err
	}
	placeholder, err := r.placeholder(ctx)
	if err != nil {
		return err
	}
	if err := home.Hold(placeholder); err != nil {
		return err
	}
	shown, variables, err := r.shownLogins(ctx)
	if err != nil {
		return err
	}
	defer launch.HoldSocketDirs()()
	secrets := launch.Secrets{
		Shown:     shown,
		CodexHome: r.app.Config.Agent.Identity.CodexHome, StateDir: r.app.Config.StateDir,
		Placeholder: placeholder, Files: files, Links: home.Links(), Paths: r.hidden(), Configs: r.configs(),
		Bus: r.keepsBus(), Dotenv: clientenv.DotenvVariables(), Getenv: r.options.Env.Get,
	}
	view, err := secrets.View()
	if err != nil {
		return err
	}
	codexHome, err := filepath.Abs(r.app.Config.Agent.Identity.CodexHome)
	if err != nil {
		return err
	}
	environ := clientenv.SetVariables(r.environ(e), append(variables, "CODEX_HOME="+codexHome)...)
	command := launch.Command{Path: r.program, Args: r.args, Env: environ}
	r.warnOfEngines()
	if err := r.isolation.Exec(command, view); err != nil {
		return errors.Join(err, r.dropIsolation())
	}
	return r.isolation.Wait()
}

// hidden returns the paths to hide besides the state directory and the log-in in COMMAND's
// own Codex home.
func (r *runner) hidden() []string {
	own := r.app.Config.Agent.Identity.CodexHome
	others := slices.DeleteFunc(slices.Clone(r.secretPaths), func(path string) bool { return path == own })
	return slices.Concat(others, r.app.Config.Run.Hide)
}

// configs returns the directory of the default configuration file, made if it is missing, or
// "". What COMMAND wrote there would be what the next run goes by.
func (r *runner) configs() string {
	dir := filepath.Dir(config.DefaultPath(r.options.Env))
	if !filepath.IsAbs(dir) {
		return ""
	}
	for _, dir := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "" // what cannot be made here, COMMAND cannot make either
		}
	}
	return dir
}

// dropIsolation ends namespaces that nothing runs in.
func (r *runner) dropIsolation() error {
	err := r.isolation.Close()
	r.isolation = nil
	return err
}

// warnOfEngines warns of container engines by which COMMAND may read any file.
func (r *runner) warnOfEngines() {
	sockets := launch.EngineSockets(r.options.Env.Get)
	sockets = slices.DeleteFunc(sockets, func(path string) bool { return slices.Contains(r.app.Config.Run.Hide, path) })
	if len(sockets) > 0 {
		r.messages.WarnOnce(r.app.Config.StateDir, "COMMAND can use a container engine, which reads any file of yours for it: "+strings.Join(sockets, ", ")+"; name it in run.hide to hide it")
	}
}

// runDirect runs COMMAND with a private Codex home, or the user's own.
func (r *runner) runDirect(ctx context.Context, home *codexhome.Home, address, token string) (err error) {
	dir, release, err := clientenv.MakeRunDir(r.app.Config.StateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	e, err := r.clientEnv(clientenv.RunDir(dir), address, token)
	if err != nil {
		return err
	}
	command := launch.Command{Path: r.program, Args: r.args, Env: r.environ(e), Stdin: r.options.Stdin, Stdout: r.options.Stdout, Stderr: r.options.Stderr}
	if r.options.KeepHome {
		return launch.Run(command)
	}
	placeholder, err := r.placeholder(ctx)
	if err != nil {
		return err
	}
	private, err := home.Private(placeholder, clientenv.DotenvVariables())
	if err != nil {
		return err
	}
	variables, err := r.loginVariables(ctx, dir)
	if err != nil {
		return err
	}
	command.Env = clientenv.SetVariables(command.Env, append(variables, "CODEX_HOME="+private)...)
	if codexhome.IsCodex(r.args[0]) {
		command.Args = codexhome.Args(command.Args)
	}
	return launch.Run(command)
}

// placeholder returns the auth.json that COMMAND finds.
func (r *runner) placeholder(ctx context.Context) ([]byte, error) {
	account, err := r.account(ctx)
	if err != nil {
		return nil, err
	}
	return codex.Placeholder(account, r.app.Now())
}

// account returns the account that placeholders name.
func (r *runner) account(ctx context.Context) (identity.Account, error) {
	account, err := r.app.PlaceholderAccount(ctx)
	if err != nil && r.options.Anyway {
		return app.Nobody, nil
	}
	return account, err
}
