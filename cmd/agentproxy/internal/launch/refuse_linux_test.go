package launch

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRefusal: a kernel that has no more of something does not have the next command
// run without isolation.
func TestRefusal(t *testing.T) {
	for err, unsupported := range map[error]bool{
		unix.EPERM: true, unix.EACCES: true, unix.EINVAL: true, unix.ENOSYS: true,
		unix.EMFILE: false, unix.ENFILE: false, unix.ENOMEM: false, unix.EAGAIN: false,
		unix.ENOSPC: setting("user/max_user_namespaces") == "0",
	} {
		refused := refusal("a step", fmt.Errorf("wrapped: %w", err))
		if got := errors.Is(refused, ErrUnsupported); got != unsupported {
			t.Errorf("%v: unsupported %v", err, got)
		}
		if refused.Reason == "" || refused.Remedy == "" {
			t.Errorf("%v: %+v", err, refused)
		}
	}
}
