package agentlogin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// maxFile bounds a file of log-ins, in bytes.
const maxFile = 1 << 20

// Use is the use of an agent in a run.
type Use struct {
	Agent
	// Getenv returns the variables of the user's environment.
	Getenv func(string) string
	// Account is the account that placeholders name.
	Account identity.Account
	// Now is the time.
	Now time.Time
	// Wanted is whether the command is the agent. An agent that is neither wanted nor was
	// ever used here is left alone.
	Wanted bool
}

// Shown returns the file with the log-ins and what is to be shown in its place. The path is
// "" if there is nothing to show: the agent is not used here, or holds a key of the user's
// for OpenAI's API. A file that is not there is made, with no log-in in it, as the agents
// themselves do.
func (u Use) Shown() (path string, content []byte, err error) {
	path = u.File(u.Getenv)
	if path == "" {
		return "", nil, nil
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", nil, err
	}
	if u.Wanted {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", nil, fmt.Errorf("make the directory of %s: %w", u.Name, err)
		}
	}
	raw, err := safefile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		raw = []byte("{}")
		err = safefile.Create(path, raw, 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) { // else another run was faster
			return "", nil, nil // the directory is missing, or not the user's
		}
	} else if err != nil {
		return "", nil, fmt.Errorf("read the log-ins of %s: %w; make the file one that can be read", u.Name, err)
	}
	if content, err = u.cover(raw); err != nil || slices.Equal(content, raw) {
		return "", nil, err
	}
	return path, content, nil
}

// Inherited returns the variable, with a placeholder for a log-in in it, in which the user
// gives the agent the file's content. It is "" if the user does not.
func (u Use) Inherited() (string, error) {
	if u.variable == "" || u.Getenv(u.variable) == "" {
		return "", nil
	}
	content, err := u.cover([]byte(u.Getenv(u.variable)))
	return u.variable + "=" + string(content), err
}

// cover is [Agent.Cover], in place of which a file that cannot be understood is hidden.
func (u Use) cover(file []byte) ([]byte, error) {
	content, err := u.Cover(file, u.Account, u.Now)
	if errors.Is(err, errUnclear) {
		return u.Cover(nil, u.Account, u.Now)
	}
	return content, err
}

// Environ returns variables by which the agent finds a placeholder where nothing can be
// shown in the place of its file. dir is a private directory that is there as long as the
// agent runs.
func (u Use) Environ(dir string) ([]string, error) {
	if inherited, err := u.Inherited(); inherited != "" || err != nil {
		return []string{inherited}, err
	}
	path, content, err := u.Shown()
	if err != nil || path == "" {
		return nil, err
	}
	if u.variable != "" {
		return []string{u.variable + "=" + string(content)}, nil
	}
	private, err := u.link(filepath.Dir(path), filepath.Join(dir, u.Name))
	if err != nil {
		return nil, fmt.Errorf("make a private directory of %s: %w; make state_dir one that can be written", u.Name, err)
	}
	return []string{u.dirVariable + "=" + private}, os.WriteFile(filepath.Join(private, fileName), content, 0o600)
}

// link makes a directory with links to all that is in the user's, but for the log-ins. A file
// that the agent makes is made where its link leads; directories are made before.
func (u Use) link(users, private string) (string, error) {
	if err := os.Mkdir(private, 0o700); err != nil {
		return "", err
	}
	for _, name := range u.makesDirs {
		if err := os.MkdirAll(filepath.Join(users, name), 0o700); err != nil {
			return "", err
		}
	}
	entries, err := os.ReadDir(users)
	if err != nil {
		return "", err
	}
	names := slices.Clone(u.makesFiles)
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, fileName) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if err := os.Symlink(filepath.Join(users, name), filepath.Join(private, name)); err != nil {
			return "", err
		}
	}
	return private, nil
}
