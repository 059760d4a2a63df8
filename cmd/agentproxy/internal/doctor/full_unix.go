//go:build unix

package doctor

import (
	"errors"
	"syscall"
)

// isFull reports whether err says that a disk is full.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
