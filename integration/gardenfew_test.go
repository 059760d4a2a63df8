//go:build linux && !garden

package integration

import "testing"

var (
	gardeners = usualGardeners
	gleaners  = usualGleaners
)

func gardenInputs(t *testing.T) []string { return fuzzCorpus(t, "FuzzTunnelBytes") }
