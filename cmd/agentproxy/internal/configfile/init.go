package configfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Init writes the template to path, for its owner alone, and the schema beside it. It makes
// the directories if it is told to. It replaces a file that is there only if force is set.
func Init(path string, makeDirs, force bool) error {
	if target, err := filepath.EvalSymlinks(path); err == nil && force {
		path = target // a link is the user's own way to keep the file elsewhere
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory; name a file in it", path)
	}
	dir := filepath.Dir(path)
	if makeDirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the directory %s: %w; name a file elsewhere: agentproxy config init FILE", dir, safefile.Cause(err))
		}
	}
	write := safefile.Create
	if force {
		write = safefile.Write
	}
	err := write(path, []byte(Template(SchemaName)), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; name another file, or replace it with --force", path)
	}
	if err == nil {
		path = filepath.Join(dir, SchemaName)
		err = safefile.Write(path, Schema(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; name a file in a directory that can be written", path, safefile.Cause(err))
	}
	return nil
}
