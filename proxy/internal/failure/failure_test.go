package failure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// TestUpstream has the failures that are hard to bring about.
func TestUpstream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{&net.OpError{Op: "dial", Err: &timeoutError{}}, 502, "upstream_timeout"},
		{fmt.Errorf("proxy: %w", &net.DNSError{Err: "no such host", IsNotFound: true}), 502, "dns_not_found"},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, 502, "upstream_timeout"},
		{x509.UnknownAuthorityError{}, 502, "upstream_certificate"},
		{tls.AlertError(40), 502, "upstream_tls"},
		{io.ErrUnexpectedEOF, 502, "upstream_closed"},
		{&upstream.PrivateAddressError{}, 403, "private_address"},
	} {
		if got := Upstream("h:1", fmt.Errorf("wrapped: %w", test.err)); got.Status != test.status || got.Code != test.code {
			t.Errorf("%v: %d %s, want %d %s", test.err, got.Status, got.Code, test.status, test.code)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestUnquoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`malformed HTTP response "Bearer x"`:         "malformed HTTP response",
		"the upstream proxy refused with \"403 No\"": "the upstream proxy refused with \"403 No\"",
		"malformed MIME header line: Bearer x":       "malformed MIME",
		"read tcp 192.0.2.1:1: unexpected thing":     "read tcp 192.0.2.1:1: unexpected thing",
	} {
		if got := unquoted(errors.New(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
