package netconn

import (
	"errors"
	"fmt"
	"net"
	"testing"
)

// TestNoApplicationProtocol knows the alert by its number: a server's words are no
// alert.
func TestNoApplicationProtocol(t *testing.T) {
	t.Parallel()
	if alert, remote, ok := AlertOf(fmt.Errorf("wrapped: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: no application protocol")})); ok {
		t.Errorf("alert %d, %v", alert, remote)
	}
	if alert, remote, ok := AlertOf(AlertNoApplicationProtocol); alert != AlertNoApplicationProtocol || !remote || !ok {
		t.Errorf("alert %d, %v, %v", alert, remote, ok)
	}
}
