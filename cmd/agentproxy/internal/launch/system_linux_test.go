package launch

import (
	"os"
	"os/exec"
	"testing"
)

// TestIsolatedBelowMounts runs TestIsolated where something is mounted below /etc, as
// in containers: the kernel lays nothing over it then.
func TestIsolatedBelowMounts(t *testing.T) {
	args := []string{"--mount", "sh", "-ec", `mount --bind /etc/hosts /etc/hosts; exec "$0" "$@"`,
		"/proc/self/exe", "-test.run=^TestIsolated$", "-test.v"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args[len(args)-3] = self
	out, err := exec.Command("unshare", args...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
