//go:build attacks && linux

package integration

import (
	"os"
	"testing"
	"time"
)

// TestAttacks is [TestUnderAttack] with each attack for a minute, or for as long as EACH
// says.
func TestAttacks(t *testing.T) {
	each := time.Minute
	if value := os.Getenv("EACH"); value != "" {
		var err error
		if each, err = time.ParseDuration(value); err != nil {
			t.Fatal(err)
		}
	}
	underAttack(t, each)
}
