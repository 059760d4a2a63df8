//go:build !unix

package app

import "time"

// processorTime returns the time that the program has kept processors busy, if that is known.
func processorTime() (time.Duration, bool) { return 0, false }
