//go:build garden

package proxy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestGardenSeeds writes the seeds of FuzzTunnelBytes to the directory that
// AGENTPROXY_GARDEN names, for the tests that have servers of others read what
// leaves the program for them.
func TestGardenSeeds(t *testing.T) {
	var seeds []string
	for _, test := range smuggling {
		seeds = append(seeds, test.request)
	}
	for i, seed := range append(seeds, tunnelSeeds...) {
		path := filepath.Join(os.Getenv("AGENTPROXY_GARDEN"), fmt.Sprintf("%03d", i))
		if err := os.WriteFile(path, []byte(seed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
