package safefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks bounds the symbolic links on a path, as Linux does (path_resolution(7)).
const maxLinks = 40

// FollowsForeignLink reports whether a symbolic link by which path leads to a file belongs to
// neither root nor the user uid: its owner chooses the file. It also does if it cannot tell.
func FollowsForeignLink(path string, uid uint32) bool {
	at := ""
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return true
		}
		at = wd
	}
	links := 0
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, string(filepath.Separator))
		switch name {
		case "", ".":
			continue
		case "..":
			if at != "" {
				at = filepath.Dir(at)
			}
			continue
		}
		next := at + string(filepath.Separator) + name
		info, err := os.Lstat(next)
		if err != nil {
			return true
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		owner, ok := OwnerOf(info)
		target, err := os.Readlink(next)
		if links++; !ok || owner != 0 && owner != uid || err != nil || links > maxLinks {
			return true
		}
		if filepath.IsAbs(target) {
			at = ""
		}
		rest = target + string(filepath.Separator) + rest
	}
	return false
}
