package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/signer"
)

// answering is a transport that answers each request with the next of its answers.
type answering struct {
	mu      sync.Mutex
	answers []string // a body, or "" for 401
	asked   []*http.Request
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.answers) == 0 {
		return nil, errors.New("no answer is left")
	}
	body, status := a.answers[0], http.StatusOK
	if body == "" {
		status = http.StatusUnauthorized
	}
	a.answers, a.asked = a.answers[1:], append(a.asked, r)
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// renewingSigner signs with "first" and, when that was refused, with "second".
type renewingSigner struct{}

func (renewingSigner) Sign(_ context.Context, r signer.Request) (*signer.Authorization, error) {
	if r.Kind != signer.KindAccount || r.Path != "/backend-api/wham/accounts/check" {
		return nil, errors.New("it is another request")
	}
	return &signer.Authorization{Value: "Bearer first", AccountID: "account-123"}, nil
}

func (renewingSigner) Renew(context.Context, signer.Request, *signer.Authorization) (*signer.Authorization, error) {
	return &signer.Authorization{Value: "Bearer second", AccountID: "account-123"}, nil
}

const twoAccounts = `{"accounts":[
	{"id":"account-1","workspace_backend_origin":"https://other.chatgpt.com"},
	{"id":"account-123","workspace_backend_origin":"https://Gov.chatgpt.com/"},
	{"id":"account-123","workspace_backend_origin":"https://odd.chatgpt.com:8443"}]}`

// TestOrigins asks the backend once for the hosts of an account, with a credential of
// its own, and again when the answer is old, or sooner if there was none.
func TestOrigins(t *testing.T) {
	t.Parallel()
	base, err := url.Parse("https://chatgpt.com/backend-api")
	if err != nil {
		t.Fatal(err)
	}
	now, transport := time.Unix(1_800_000_000, 0), &answering{answers: []string{"", twoAccounts, "{", `{"accounts":[]}`, twoAccounts, twoAccounts}}
	failures, account := 0, "account-123"
	o := &origins{
		asking:  make(chan struct{}, 1),
		account: func(context.Context) (string, error) { return account, nil },
		base:    base, transport: transport, signer: renewingSigner{}, now: func() time.Time { return now }, failed: func(error) { failures++ },
	}
	want := func(asked int, named ...string) {
		t.Helper()
		for _, host := range []string{"gov.chatgpt.com", "other.chatgpt.com", "odd.chatgpt.com", "chatgpt.com"} {
			if got := o.Named(t.Context(), host); got != (len(named) > 0 && named[0] == host) {
				t.Errorf("%s is named: %t", host, got)
			}
		}
		if len(transport.asked) != asked {
			t.Errorf("asked %d times, want %d", len(transport.asked), asked)
		}
	}
	want(2, "gov.chatgpt.com") // the first credential was refused
	for i, value := range []string{"Bearer first", "Bearer second"} {
		if r := transport.asked[i]; r.URL.String() != "https://chatgpt.com/backend-api/wham/accounts/check" || r.Header.Get("Authorization") != value {
			t.Errorf("asked %s with %s", r.URL, r.Header)
		}
	}
	now = now.Add(originsHold - time.Second)
	want(2, "gov.chatgpt.com")
	now = now.Add(time.Second)
	want(3, "gov.chatgpt.com") // there was no answer, and the former one counts on
	now = now.Add(originsRetry - time.Second)
	want(3, "gov.chatgpt.com")
	now = now.Add(time.Second)
	want(4)
	now = now.Add(originsHold)
	want(5, "gov.chatgpt.com")
	account = "account-1" // whose origin another log-in's credential must not learn
	want(6)
	if failures != 2 {
		t.Errorf("%d failures were told", failures)
	}
}

// TestOriginsOf takes hosts below chatgpt.com on the usual port, and no other.
func TestOriginsOf(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]bool{
		"https://gov.chatgpt.com": true, "https://gov.chatgpt.com:443/": true,
		"http://gov.chatgpt.com": false, "https://chatgpt.com": false, "https://gov.chatgpt.com:444": false, "https://gov.chatgpt.com/x": false,
		"https://u@gov.chatgpt.com": false, "https://gov.chatgpt.com.evil.example": false, "https://evilchatgpt.com": false, "https://gov.chatgpt.com?x": false, "": false,
	} {
		named, err := originsOf([]byte(`{"accounts":[{"id":"a","workspace_backend_origin":"`+origin+`"}]}`), "a")
		if err != nil || (len(named) > 0) != want {
			t.Errorf("%s: %v, %v", origin, named, err)
		}
	}
	if named, _ := originsOf([]byte(`{"accounts":[{"id":"","workspace_backend_origin":"https://gov.chatgpt.com"}]}`), ""); len(named) > 0 {
		t.Errorf("for nobody: %v", named)
	}
}

// hanging is a transport that answers nothing before the request is canceled.
type hanging struct{ began chan struct{} }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.began <- struct{}{}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestOriginsOfThoseWhoLeave lets the request that asks the backend be canceled: what asks
// ends with it, it counts as no failure, and the next request asks.
func TestOriginsOfThoseWhoLeave(t *testing.T) {
	t.Parallel()
	base, err := url.Parse("https://chatgpt.com/backend-api")
	if err != nil {
		t.Fatal(err)
	}
	h := hanging{began: make(chan struct{})}
	o := &origins{
		asking:  make(chan struct{}, 1),
		account: func(context.Context) (string, error) { return "account-123", nil },
		base:    base, transport: h, signer: renewingSigner{}, now: time.Now, failed: func(err error) { t.Errorf("told of %v", err) },
	}
	first, leave := context.WithCancel(t.Context())
	second, leaveToo := context.WithCancel(t.Context())
	var both sync.WaitGroup
	for _, ctx := range []context.Context{first, second} {
		both.Go(func() {
			if o.Named(ctx, "gov.chatgpt.com") {
				t.Error("a host is named by nobody")
			}
		})
		if ctx == first {
			<-h.began
		}
	}
	leave()
	<-h.began // by the second
	leaveToo()
	both.Wait()
	o.transport = &answering{answers: []string{twoAccounts}}
	if !o.Named(t.Context(), "gov.chatgpt.com") {
		t.Error("the host is not asked for after those who left")
	}
}
