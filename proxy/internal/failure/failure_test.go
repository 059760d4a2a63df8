package failure

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
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

// goAway is the error of a GOAWAY as net/http makes it, whose own is not exported.
type goAway struct {
	LastStreamID uint32
	ErrCode      http2.ErrCode
	DebugData    string
}

func (e goAway) Error() string { return "server sent GOAWAY, " + e.DebugData }

// TestUnquoted tells of an error what this program, the system or HTTP/2 says, and nothing
// that may quote a server.
func TestUnquoted(t *testing.T) {
	t.Parallel()
	malformed := func(answer string) error {
		_, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
	}
	const none = "the connection broke, or the answer is not valid HTTP"
	for _, test := range []struct {
		err  error
		want string
	}{
		{malformed("Bearer secret\r\n\r\n"), none},
		{malformed("HTTP/1.1 200 OK\r\nBearer secret\r\n\r\n"), none},
		{malformed("HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n"), none},
		{malformed("HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n"), none},
		{fmt.Errorf("a: %w", message.Errorf("the upstream proxy refused with %q", "403 No")), `the upstream proxy refused with "403 No"`},
		{fmt.Errorf("a: %w", &net.OpError{Op: "read", Net: "tcp", Err: errors.New("unexpected thing")}), "read tcp: unexpected thing"},
		{http2.StreamError{StreamID: 1, Code: http2.ErrCodeInternal, Cause: errors.New("secret")}, "the server ended the request with the code INTERNAL_ERROR"},
		{goAway{LastStreamID: 1, ErrCode: http2.ErrCodeProtocol, DebugData: "secret"}, "the server ended the request with the code PROTOCOL_ERROR"},
	} {
		if got := Upstream("h:1", test.err); got.Message != "h:1: "+test.want {
			t.Errorf("%v: %s", test.err, got.Message)
		}
	}
}
