package backend_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
)

// refreshOver refreshes over connections of dial.
func refreshOver(ctx context.Context, t *testing.T, dial func(context.Context) (net.Conn, error)) (identity.TokenSet, error) {
	t.Helper()
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	defer transport.CloseIdleConnections()
	return backend.New(backend.Config{BaseURL: baseURL, Transport: transport}).Refresh(ctx, "refresh")
}

// TestRefreshWithoutConnection ends when the caller does not want to wait any more.
func TestRefreshWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := refreshOver(ctx, t, func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestRefreshIsSent goes on for the tokens that the server may give.
func TestRefreshIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r, err := http.ReadRequest(bufio.NewReader(theirs))
			if err != nil {
				t.Error(err)
				return
			}
			cancel()
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(14 * time.Second)
			_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n"+`{"access_token":"new"}`)
		}()
		tokens, err := refreshOver(ctx, t, func(context.Context) (net.Conn, error) { return ours, nil })
		if err != nil || tokens.AccessToken != "new" {
			t.Errorf("%v, %v", tokens, err)
		}
	})
}

// TestRefreshIsSentOrNot has the caller go at the moment when there is a connection.
func TestRefreshIsSentOrNot(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ours, theirs := net.Pipe()
			sent := make(chan string, 1)
			go func() {
				all, _ := io.ReadAll(theirs)
				sent <- string(all)
			}()
			time.AfterFunc(time.Second, cancel)
			_, err := refreshOver(ctx, t, func(context.Context) (net.Conn, error) {
				time.Sleep(time.Second)
				return ours, nil
			})
			ours.Close()
			got := <-sent
			if whole := strings.HasSuffix(got, `"}`); got != "" && !whole || whole == errors.Is(err, context.Canceled) {
				t.Errorf("%q was sent, error %v", got, err)
			}
		})
	}
}
