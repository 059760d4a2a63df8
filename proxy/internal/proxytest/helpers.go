package proxytest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/signer"
)

// EachWay runs test with HTTP/1.1 and HTTP/2 on either side of the proxy.
func EachWay(t *testing.T, test func(t *testing.T, client, server string)) {
	t.Helper()
	for _, client := range []string{H1, H2} {
		for _, server := range []string{H1, H2} {
			t.Run(client+" to "+server, func(t *testing.T) {
				t.Parallel()
				test(t, client, server)
			})
		}
	}
}

// EachProto runs test with a client of each protocol.
func EachProto(t *testing.T, test func(t *testing.T, proto string)) {
	t.Helper()
	for _, proto := range []string{H1, H2} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			test(t, proto)
		})
	}
}

// NewRequest returns a request that is given up when the test ends. It has no time limit, for
// that would be one for all of a stream: the clients of tests have one, unless it is set to 0.
func NewRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Do sends r by c. The body of the response is closed when the test ends.
func Do(t testing.TB, c *http.Client, r *http.Request) *http.Response {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// Get sends a GET request by c.
func Get(t testing.TB, c *http.Client, url string) *http.Response {
	t.Helper()
	return Do(t, c, NewRequest(t, http.MethodGet, url, nil))
}

// ReadAll returns what r has to its end.
func ReadAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(b), err)
	}
	return string(b)
}

// WantRefusal checks that res is a complete refusal with status, code and proxyError,
// and returns its message.
func WantRefusal(t testing.TB, res *http.Response, status int, code, proxyError string) string {
	t.Helper()
	body := ReadAll(t, res.Body)
	var refused struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &refused); err != nil {
		t.Fatalf("%s, and the body is not JSON: %v: %q", res.Status, err, body)
	}
	if res.StatusCode != status || refused.Error.Code != code {
		t.Errorf("%s, code %q (%s), want %d, %q", res.Status, refused.Error.Code, refused.Error.Message, status, code)
	}
	if refused.Error.Message == "" || strings.Contains(refused.Error.Message, "\n") {
		t.Errorf("message %q", refused.Error.Message)
	}
	if got, want := res.Header.Get("Proxy-Status"), fmt.Sprintf("agentproxy; error=%s; details=%q", proxyError, code); got != want {
		t.Errorf("Proxy-Status: %s, want %s", got, want)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: %s", got)
	}
	return refused.Error.Message
}

// Eventually calls ok until it returns nil, for at most [Patience].
func Eventually(t testing.TB, ok func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// Wait waits until done is closed, for at most [Patience].
func Wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(Patience):
		t.Fatalf("waited in vain until %s", what)
	}
}

// CloseSocket closes a WebSocket. The library waits five seconds for the other side to say the
// same, within which a busy machine need not have got there: that is no error.
func CloseSocket(c *websocket.Conn, reason string) error {
	if err := c.Close(websocket.StatusNormalClosure, reason); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Goroutines returns the stacks of all goroutines by their ids.
func Goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		stacks[id] = stack
	}
	return stacks
}

// NoneLeft returns a function that fails the test unless every goroutine begun
// since has ended. A test that calls it must not be parallel to others.
func NoneLeft(t testing.TB) func() {
	before := Goroutines()
	return func() {
		t.Helper()
		Eventually(t, func() error {
			var left []string
			for id, stack := range Goroutines() {
				if _, ok := before[id]; !ok && !strings.Contains(stack, "testing.(*T).Run") {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return nil
			}
			return fmt.Errorf("%d goroutines left:\n%s", len(left), strings.Join(left[:min(len(left), 10)], "\n\n"))
		})
	}
}

// SignerFunc is a signer that goes by the request alone.
type SignerFunc func(r signer.Request) (*signer.Authorization, error)

// Sign implements [signer.Signer].
func (f SignerFunc) Sign(_ context.Context, r signer.Request) (*signer.Authorization, error) {
	return f(r)
}

// PlainRecorder returns what serves a connection: it answers every request with 204
// and sends its header to heads, as it came.
func PlainRecorder(heads chan<- []string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			head, err := RequestHead(r)
			if err != nil {
				return
			}
			heads <- head
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	}
}

// BasicAuth returns a user name and a password as Basic credentials (RFC 7617).
func BasicAuth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// ZeroReader is an endless body.
type ZeroReader struct{}

// Read implements [io.Reader].
func (ZeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
