package doctor

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestHasCA has proxies of this version and of earlier ones, which tell no fingerprint.
func TestHasCA(t *testing.T) {
	t.Parallel()
	expires := time.Date(2036, 11, 30, 3, 23, 3, 0, time.UTC)
	ca := &x509.Certificate{Raw: []byte("ours"), NotAfter: expires}
	other := certs.Fingerprint(&x509.Certificate{Raw: []byte("another")})
	for name, test := range map[string]struct {
		status admin.Status
		want   bool
	}{
		"the same":                 {admin.Status{CAFingerprint: certs.Fingerprint(ca), CAExpires: expires}, true},
		"another":                  {admin.Status{CAFingerprint: other, CAExpires: expires}, false},
		"the same, not told":       {admin.Status{CAExpires: expires.In(time.FixedZone("", 3600))}, true},
		"another, not told":        {admin.Status{CAExpires: expires.Add(time.Second)}, false},
		"a program that says none": {admin.Status{}, false},
	} {
		if got := hasCA(test.status, ca); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

// TestRecognize asks programs whether they are agentproxy. One that is too slow to say so is
// not taken for another program.
func TestRecognize(t *testing.T) {
	t.Parallel()
	const refusal = `{"error":{"code":"not_a_proxy_request"}}`
	answer := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	for name, test := range map[string]struct {
		answer          string
		after           time.Duration
		isProxy, silent bool
	}{
		"agentproxy":                       {answer(refusal), 0, true, false},
		"agentproxy on a busy machine":     {answer(refusal), localTimeout - time.Second, true, false},
		"agentproxy on a busier one":       {answer(refusal), localTimeout + time.Second, false, true},
		"another program":                  {answer("{}"), 0, false, false},
		"another protocol":                 {"SSH-2.0-x\r\n", 0, false, false},
		"a program that says nothing":      {"", 2 * localTimeout, false, true},
		"a program that hangs up":          {"", 0, false, false},
		"a program that stops in its body": {answer(refusal)[:70], 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				var program sync.WaitGroup
				defer program.Wait()
				defer here.Close()
				program.Go(func() {
					defer there.Close()
					if _, err := http.ReadRequest(bufio.NewReader(there)); err != nil {
						return
					}
					time.Sleep(test.after) // of the bubble
					_, _ = there.Write([]byte(test.answer))
				})
				ctx, cancel := context.WithTimeout(t.Context(), localTimeout)
				defer cancel()
				if isProxy, silent, owner := recognize(ctx, here); isProxy != test.isProxy || silent != test.silent || owner != nil {
					t.Errorf("a proxy: %t, silent: %t, %v", isProxy, silent, owner)
				}
			})
		})
	}
}

// TestMeetSilent meets programs that accept connections, or do not even that, and say nothing. All
// waits together are bounded.
func TestMeetSilent(t *testing.T) {
	t.Parallel()
	silent := func(ctx context.Context) (admin.Status, error) {
		<-ctx.Done()
		return admin.Status{}, ctx.Err()
	}
	closed := func(context.Context) (admin.Status, error) { return admin.Status{}, errors.New("refused") }
	for name, test := range map[string]struct {
		accepts int // how many connections
		ask     func(context.Context) (admin.Status, error)
	}{
		"both say nothing":               {2, silent},
		"nobody listens for admin":       {2, closed},
		"the second is not accepted":     {1, silent},
		"no connection is ever accepted": {0, silent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var program sync.WaitGroup
				defer program.Wait()
				begun, dialed := time.Now(), 0
				found := meet(t.Context(), func(ctx context.Context) (net.Conn, error) {
					if dialed++; dialed > test.accepts {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					here, there := net.Pipe()
					program.Go(func() {
						_, _ = http.ReadRequest(bufio.NewReader(there))
						time.Sleep(10 * localTimeout) // of the bubble
						there.Close()
					})
					return here, nil
				}, test.ask)
				if took := time.Since(begun); took > localTimeout {
					t.Errorf("it took %s", took)
				}
				if found.silent != (test.accepts == 2) || (found.refused == nil) != found.silent {
					t.Errorf("found %+v", found)
				}
			})
		})
	}
}

// TestTellStranger has what listens be silent: whose it is, is told if it is known.
func TestTellStranger(t *testing.T) {
	t.Parallel()
	for want, owner := range map[string]error{
		"what listens on 127.0.0.1:8080 has not answered within 15s":                    nil,
		"a program of user 1234 listens on 127.0.0.1:8080, and has not answered within": &access.ForeignUserError{UID: 1234},
	} {
		k := &checker{config: &config.Config{Clients: config.Access{Listen: "127.0.0.1:8080"}}}
		k.tellStranger(listener{asked: errors.New("refused"), silent: true, owner: owner})
		if len(k.findings) != 1 || k.findings[0].Status != Failed || !strings.HasPrefix(k.findings[0].Message, want) {
			t.Errorf("%+v, want %q", k.findings, want)
		}
	}
}
