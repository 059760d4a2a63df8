package codexhome

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// link makes a link at path to the file or directory at target. Few users of Windows may make
// symbolic links: without that right it is a junction to a directory, or another name of a
// file.
func link(target, path string, isDir bool) error {
	err := os.Symlink(target, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if !isDir {
		return os.Link(target, path)
	}
	return makeJunction(target, path)
}

// makeJunction makes a junction at path to the directory at target.
func makeJunction(target, path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	err := setReparsePoint(path, mountPoint(target))
	if err != nil {
		return errors.Join(&os.LinkError{Op: "junction", Old: target, New: path, Err: err}, os.Remove(path))
	}
	return nil
}

func setReparsePoint(path string, data []byte) error {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	var returned uint32
	return windows.DeviceIoControl(h, windows.FSCTL_SET_REPARSE_POINT, &data[0], uint32(len(data)), nil, 0, &returned, nil)
}
