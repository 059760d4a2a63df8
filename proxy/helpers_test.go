package proxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/signer"
)

func newErrorLog(w io.Writer) *log.Logger { return log.New(w, "", 0) }

// eachWay runs test with HTTP/1.1 and HTTP/2 on either side of the proxy.
func eachWay(t *testing.T, test func(t *testing.T, client, server string)) {
	t.Helper()
	for _, client := range []string{h1, h2} {
		for _, server := range []string{h1, h2} {
			t.Run(client+" to "+server, func(t *testing.T) {
				t.Parallel()
				test(t, client, server)
			})
		}
	}
}

// eachProto runs test with a client of each protocol.
func eachProto(t *testing.T, test func(t *testing.T, proto string)) {
	t.Helper()
	for _, proto := range []string{h1, h2} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			test(t, proto)
		})
	}
}

func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func do(t testing.TB, c *http.Client, r *http.Request) *http.Response {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func get(t testing.TB, c *http.Client, url string) *http.Response {
	t.Helper()
	return do(t, c, newRequest(t, http.MethodGet, url, nil))
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(b), err)
	}
	return string(b)
}

// wantRefusal checks that res is a refusal with all that belongs to one, and
// returns its message.
func wantRefusal(t testing.TB, res *http.Response, status int, code, proxyError string) string {
	t.Helper()
	body := readAll(t, res.Body)
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

// eventually tries until ok returns nil.
func eventually(t testing.TB, ok func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// wait waits for something to happen that ought to happen at once.
func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited in vain until %s", what)
	}
}

// goroutines returns the stacks of all goroutines by their ids.
func goroutines() map[string]string {
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

// noneLeft returns a function that fails the test unless every goroutine begun
// since has ended. A test that calls it must not be parallel to others.
func noneLeft(t testing.TB) func() {
	before := goroutines()
	return func() {
		t.Helper()
		eventually(t, func() error {
			var left []string
			for id, stack := range goroutines() {
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

// signerFunc is a signer that goes by the request alone.
type signerFunc func(r signer.Request) (*signer.Authorization, error)

func (f signerFunc) Sign(_ context.Context, r signer.Request) (*signer.Authorization, error) {
	return f(r)
}

func userPassword(user, password string) *url.Userinfo { return url.UserPassword(user, password) }

// plainRecorder answers every request with no content, and hands over its
// header as it came.
func plainRecorder(heads chan<- []string) func(net.Conn) {
	return func(c net.Conn) {
		r := newReader(c)
		for {
			head, err := requestHead(r)
			if err != nil {
				return
			}
			heads <- head
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	}
}

func basicAuth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// panicking is a signer with a mistake in it.
type panicking struct{ broken *atomic.Bool }

func (s *panicking) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	if s.broken.Load() {
		panic("the signer is broken")
	}
	return bearer(), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
