package access

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

func TestIsOverflow(t *testing.T) {
	t.Parallel()
	const first = "         0          0 4294967295\n"
	for _, test := range []struct {
		name, overflow, uidMap string
		uid                    uint32
		want                   bool
	}{
		{"first namespace", "65534\n", first, 65534, false},
		{"rootless", "65534\n", "0 1000 1\n", 65534, true},
		{"a range with nobody in it", "65534\n", "0 100000 65536\n", 65534, true},
		{"all but one number", "65534\n", "0 0 4294967294\n", 65534, true},
		{"another user", "65534\n", "0 1000 1\n", 0, false},
		{"set otherwise", "7\n", "0 1000 1\n", 7, true},
		{"set otherwise, 65534", "7\n", "0 1000 1\n", 65534, false},
		{"no /proc", "", "", 65534, true},
	} {
		proc := t.TempDir()
		for path, content := range map[string]string{"sys/kernel/overflowuid": test.overflow, "self/uid_map": test.uidMap} {
			if content == "" {
				continue
			}
			path = filepath.Join(proc, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := isOverflowIn(proc, test.uid); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestOverflowUser has a process in a user namespace be connected to by a user who has
// no number there. It must run as root, as CI does.
func TestOverflowUser(t *testing.T) {
	t.Parallel()
	const variable = "AGENTPROXY_TEST_OVERFLOW"
	if os.Getenv(variable) != "" {
		serveInNamespace(t)
		return
	}
	if os.Getuid() != 0 {
		t.Log("not root: this test cannot start a process as another user")
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestOverflowUser$")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000, Size: 1}},
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	conn, err := net.Dial("tcp", lines.Text())
	if err != nil {
		t.Fatalf("%q: %v", lines.Text(), err)
	}
	defer conn.Close()
	lines.Scan()
	switch refusal := lines.Text(); {
	case !strings.HasPrefix(refusal, "foreign_user: ") || !strings.Contains(refusal, "no number for its user"):
		t.Errorf("refused: %q", refusal)
	case strings.Contains(refusal, "allow_uids") || !strings.Contains(refusal, "clients.token"):
		t.Errorf("the remedy: %q", refusal)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// serveInNamespace prints its address and why whoever connects is refused, although
// the number that the kernel shows for users without one is allowed.
func serveInNamespace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	users := Users{0, defaultOverflow}
	r := httptest.NewRequestWithContext(users.ConnContext(t.Context(), conn), http.MethodConnect, "http://chatgpt.com:443", nil)
	_, refused := New(Config{Users: users}, zerolog.Nop()).Admit(r)
	if refused == nil {
		t.Fatal("a user without a number is let in")
	}
	os.Stdout.WriteString(refused.Code + ": " + refused.Message + "\n")
}
