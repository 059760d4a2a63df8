//go:build linux

package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// behaved says what a process of well-behaved clients does. Its JSON is the process's
// environment variable [behavedVariable].
type behaved struct {
	Proxy string // its address
	CA    string // the path of the proxy's
	N     int    // clients, each with a session label of its own
}

// behavedVariable makes a process of this program one of well-behaved clients.
const behavedVariable = "AGENTPROXY_TEST_BEHAVED"

// behavedClients are a process of well-behaved clients. It is one of its own, so that the
// clients share no scheduler with the server of the test.
type behavedClients struct {
	stdin  io.Writer
	stdout *json.Decoder
}

// startClients starts well-behaved clients, which wait for [behavedClients.start].
func startClients(t *testing.T, b behaved) *behavedClients {
	t.Helper()
	cmd, stdin := startRole(t, behavedVariable, b)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &behavedClients{stdin, json.NewDecoder(stdout)}
}

// startRole returns a command that runs this program in a role, and that lives no longer
// than this process, which writes to its standard input.
func startRole(t *testing.T, variable string, description any) (*exec.Cmd, io.WriteCloser) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(description)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), variable+"="+string(value))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, stdin
}

// start has the clients ask for a time.
func (c *behavedClients) start(t *testing.T, d time.Duration) {
	t.Helper()
	if _, err := fmt.Fprintln(c.stdin, d); err != nil {
		t.Fatal(err)
	}
}

// wait waits until the time is over, and returns what the clients have seen.
func (c *behavedClients) wait(t *testing.T) *firstBytes {
	t.Helper()
	seen := new(firstBytes)
	if err := c.stdout.Decode(seen); err != nil {
		t.Fatal(err)
	}
	return seen
}

// behavedMain is what a process of well-behaved clients does in place of running tests. It
// returns its exit code.
func behavedMain(description string) int {
	var b behaved
	err := json.Unmarshal([]byte(description), &b)
	if err == nil {
		err = b.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run asks for as long as each line of the standard input says, and prints what was seen.
func (b *behaved) run() error {
	pem, err := os.ReadFile(b.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s has no certificate", b.CA)
	}
	var clients []*http.Client
	for i := range b.N {
		clients = append(clients, &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: b.Proxy}),
			ProxyConnectHeader: http.Header{"Proxy-Authorization": {basic(fmt.Sprintf("good-%d", i))}},
			TLSClientConfig:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2:  true,
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
				if isBusy(res) {
					return errBusy
				}
				return nil
			},
		}})
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		ctx, end := context.WithTimeout(context.Background(), d)
		seen := new(firstBytes)
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() { behave(ctx, c, seen) })
		}
		all.Wait()
		end()
		if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
			return err
		}
	}
	return nil
}

// firstBytes are what well-behaved clients have seen.
type firstBytes struct {
	mu     sync.Mutex
	After  []time.Duration
	Busy   int
	Failed []string
}

func (f *firstBytes) note(after time.Duration, busy bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.Failed = append(f.Failed, err.Error())
	case busy:
		f.Busy++
	default:
		f.After = append(f.After, after)
	}
}

// quantile returns the time within which the first byte of so many of the answers came.
func (f *firstBytes) quantile(q float64) time.Duration {
	if len(f.After) == 0 {
		return 0
	}
	slices.Sort(f.After)
	return f.After[min(int(q*float64(len(f.After))), len(f.After)-1)].Round(100 * time.Microsecond)
}

// errBusy is the error of a CONNECT that was answered with 503 busy and Retry-After.
var errBusy = errors.New("busy")

// isBusy reports whether a response says that the proxy is busy, and when to come back.
func isBusy(r *http.Response) bool {
	return r.StatusCode == http.StatusServiceUnavailable && strings.Contains(r.Header.Get("Proxy-Status"), `"busy"`) && r.Header.Get("Retry-After") != ""
}

// behave asks through client again and again until ctx ends.
func behave(ctx context.Context, client *http.Client, seen *firstBytes) {
	for ctx.Err() == nil {
		begun := time.Now()
		var first time.Duration
		traced := httptrace.WithClientTrace(context.WithoutCancel(ctx), &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Since(begun) }})
		r, err := http.NewRequestWithContext(traced, http.MethodPost, "https://chatgpt.com/backend-api/test/upload", strings.NewReader("hello"))
		if err != nil {
			seen.note(0, false, err)
			return
		}
		res, err := client.Do(r)
		switch {
		case errors.Is(err, errBusy):
			seen.note(0, true, nil)
		case err != nil:
			seen.note(0, false, err)
		default:
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && res.StatusCode != http.StatusOK && !isBusy(res) {
				err = fmt.Errorf("%s %s", res.Status, body)
			}
			seen.note(first, isBusy(res), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(150 * time.Millisecond):
		}
	}
}
