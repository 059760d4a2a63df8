//go:build attacks && linux

package integration

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestAttacks is [TestUnderAttack] with each attack for a minute, or for as long as EACH
// says, and a quiet time before each to compare with. It prints a table.
//
// The attackers get what time of the processors the proxy, its clients and the server leave:
// in the world they have a machine of their own. The table says how strong they were all the
// same. ATTACKERS=normal has them take turns with the others, and ONLY=uploads leaves out those whose name has no such word.
//
// The server, which is in this process, has twice as many of the runtime's processors as there are,
// as the proxy has under load: or it would look for requests every 10 ms while others upload.
func TestAttacks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	each := time.Minute
	if value := os.Getenv("EACH"); value != "" {
		var err error
		if each, err = time.ParseDuration(value); err != nil {
			t.Fatal(err)
		}
	}
	underAttack(t, siege{each: each, quiet: each / 4, idle: os.Getenv("ATTACKERS") != "normal", only: os.Getenv("ONLY")})
}
