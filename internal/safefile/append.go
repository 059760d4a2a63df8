package safefile

import "os"

// EndsWithinLine reports whether the file f, which was opened at path for appending, ends
// within a line, as after a crash or on a full disk. Where that cannot be read it is false.
func EndsWithinLine(f *os.File, path string) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	old, err := os.Open(path)
	if err != nil {
		return false // it may be written only; a torn line is bad luck
	}
	defer old.Close()
	var last [1]byte
	_, err = old.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}
