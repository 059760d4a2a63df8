package safefile

import (
	"io/fs"
	"os"
)

func openAtOnce(path string) (*os.File, error) { return os.Open(path) }

func isGiven(fs.FileInfo) bool { return false }

// IsForeign returns false: who owns a file is kept elsewhere.
func IsForeign(fs.FileInfo) bool { return false }

// Inode returns 0: the system does not tell a file from the one that replaced it.
func Inode(fs.FileInfo) uint64 { return 0 }

// GiveLike does nothing: a new file belongs to the owner of its directory.
func GiveLike(path, like string) {}
