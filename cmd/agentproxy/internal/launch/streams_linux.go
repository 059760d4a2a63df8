package launch

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// checkStreams returns an error if a stream leads to what the command must not see: a
// directory leads round every cover, and an open file needs no path.
func checkStreams(command Command, view *View, network bool) error {
	for _, stream := range []struct {
		name string
		of   any
	}{
		{"standard input", command.Stdin}, {"standard output", command.Stdout}, {"standard error", command.Stderr},
	} {
		f, ok := stream.of.(*os.File)
		if !ok || f == nil {
			continue
		}
		info, err := f.Stat()
		if err != nil {
			continue // it is closed
		}
		if network && info.Mode()&fs.ModeSocket != 0 && !isLocalSocket(int(f.Fd())) {
			return fmt.Errorf("%s is a connection to elsewhere, which --isolate net keeps COMMAND from; redirect it from or to a file", stream.name)
		}
		if info.IsDir() {
			return fmt.Errorf("%s is a directory, by which COMMAND could read the log-in; redirect it from or to a file", stream.name)
		}
		if view != nil && view.covers(info) {
			return fmt.Errorf("%s is a file that is hidden from COMMAND; redirect it from or to another", stream.name)
		}
	}
	return nil
}

// covers reports whether the view hides a file.
func (v *View) covers(file os.FileInfo) bool {
	paths := slices.AppendSeq(slices.Clone(v.HideFiles), maps.Keys(v.Show))
	return slices.ContainsFunc(paths, func(path string) bool {
		hidden, err := os.Stat(path)
		return err == nil && os.SameFile(hidden, file)
	})
}
