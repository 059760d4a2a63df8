//go:build !linux && !windows

package safefile

import "os"

// lease does nothing: Linux alone has leases.
type lease struct{}

func takeLease(*os.File) *lease { return nil }
func (*lease) wanted() bool     { return false }
func (*lease) release()         {}
