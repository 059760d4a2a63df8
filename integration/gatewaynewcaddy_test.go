//go:build linux && gateways

package integration

import (
	"path/filepath"
	"testing"
)

// TestNewCaddy has the Caddy of today do what TestCaddy has Debian's do, by the same file.
func TestNewCaddy(t *testing.T) {
	caddy, err := filepath.Abs(filepath.Join("clients", "bin", "caddy"))
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(caddy) {
		t.Fatalf("%s is missing; run make gateways", caddy)
	}
	caddyBehaves(t, caddy)
}
