package safefile

import (
	"io/fs"
	"os"
	"time"
)

// settled is the age from which on the time stamp of a file is trusted: one that was just
// written may be written again within the same tick. Some file systems count in two seconds.
const settled = 2 * time.Second

// Unchanged reports whether a file is for certain the one that was read at that time, from
// what was told of it before and is now. nil stands for no file.
func Unchanged(before, now fs.FileInfo, read time.Time) bool {
	if before == nil || now == nil {
		return before == nil && now == nil
	}
	return SameVersion(before, now) && read.Sub(now.ModTime()) > settled
}

// SameVersion reports whether a and b are the same file, unchanged as far as its inode
// tells.
func SameVersion(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
