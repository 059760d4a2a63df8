package app

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

func TestCheckDescriptors(t *testing.T) {
	t.Parallel()
	if wrong := CheckDescriptors(2*4096+ownDescriptors, 4096); wrong != "" {
		t.Error(wrong)
	}
	if wrong := CheckDescriptors(1024, 4096); !strings.Contains(wrong, "1024") || !strings.Contains(wrong, "8256") || !strings.Contains(wrong, "limits.connections") {
		t.Errorf("%q", wrong)
	}
	if err := fmt.Errorf("%w; name a file", safefile.Cause(&fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE})); !outOfDescriptors(err) {
		t.Errorf("%v is a mistake in the configuration", err)
	}
}
