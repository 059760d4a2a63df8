package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// countComparisons counts the comparisons with hashes from now on.
func countComparisons(f *TokenFile) *atomic.Int64 {
	n := new(atomic.Int64)
	f.checks.compare = func(hash, token []byte) error {
		n.Add(1)
		return bcrypt.CompareHashAndPassword(hash, token)
	}
	return n
}

// TestBcryptOnce has many requests come with the same token at once, and again:
// one of them pays.
func TestBcryptOnce(t *testing.T) {
	t.Parallel()
	f := openTokens(t, "a:"+bcryptOf(t, "token"))
	f.checks.slots = make(chan struct{}, 1)
	n := countComparisons(f)
	for range 2 {
		var group sync.WaitGroup
		for range maxWaitingChecks {
			group.Go(func() {
				if _, err := labelOf(t, f, "a", "token"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	if n.Load() != 1 {
		t.Errorf("%d comparisons, want 1", n.Load())
	}
}

// TestSameWorkForEveryWrongToken counts the comparisons by whose time a client
// could tell which labels there are.
func TestSameWorkForEveryWrongToken(t *testing.T) {
	t.Parallel()
	f := openTokens(t, "plain:token", "one:"+bcryptOf(t, "1"), "two:"+bcryptOf(t, "2"), "two:"+bcryptOf(t, "22"), "*:"+bcryptOf(t, "any"))
	n := countComparisons(f)
	long := strings.Repeat("x", maxHashedToken+1)
	for _, test := range [][2]string{
		{"plain", "wrong"}, {"one", "wrong"}, {"two", "wrong"}, {"unknown", "wrong"}, {"*", "wrong"}, {"", "wrong"},
		{"unknown", "token"}, {"one", "2"}, {"one", long}, {"unknown", long},
	} {
		n.Store(0)
		if _, err := labelOf(t, f, test[0], test[1]); !errors.Is(err, errWrongToken) {
			t.Errorf("%q: %v", test, err)
		}
		if n.Load() != 3 {
			t.Errorf("%q: %d comparisons, want 3 as for all", test, n.Load())
		}
	}
	// Nothing at all is asked of who shows no token.
	n.Store(0)
	if _, err := labelOf(t, f, "one", ""); !errors.Is(err, errWrongToken) || n.Load() != 0 {
		t.Errorf("%v after %d comparisons", err, n.Load())
	}
}

// TestBcryptBounded floods the proxy with wrong tokens: few comparisons run at
// once, a bounded number wait, all others are told to come again, and whoever is
// known or has a plain token is served meanwhile.
func TestBcryptBounded(t *testing.T) {
	t.Parallel()
	f := openTokens(t, "plain:plain", "known:"+bcryptOf(t, "known"), "new:"+bcryptOf(t, "new"))
	if _, err := labelOf(t, f, "known", "known"); err != nil {
		t.Fatal(err)
	}
	var running, most atomic.Int64
	proceed := make(chan struct{})
	f.checks.compare = func(hash, token []byte) error {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		<-proceed
		return bcrypt.CompareHashAndPassword(hash, token)
	}
	admit := func(user, password string) *refuse.Refusal {
		_, refused := New(Config{Tokens: f}, zerolog.Nop()).Admit(requestOf(user, password))
		return refused
	}

	var flood sync.WaitGroup
	for i := range cap(f.checks.slots) + maxWaitingChecks {
		flood.Go(func() { _, _ = labelOf(t, f, "new", fmt.Sprint("wrong", i)) })
	}
	for deadline := time.Now().Add(time.Minute); f.checks.waiting.Load() != maxWaitingChecks; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", f.checks.waiting.Load())
		}
	}
	refused := admit("new", "new")
	if refused == nil || refused.Status != http.StatusServiceUnavailable || refused.Code != "auth_busy" || refused.Header().Get("Retry-After") == "" {
		t.Errorf("refused: %+v", refused)
	}
	for _, user := range []string{"plain", "known"} {
		if refused := admit(user, user); refused != nil {
			t.Errorf("%s is refused: %v", user, refused)
		}
	}
	close(proceed)
	flood.Wait()
	if most := int(most.Load()); most > cap(f.checks.slots) {
		t.Errorf("%d comparisons ran at once", most)
	}
	if refused := admit("new", "new"); refused != nil {
		t.Error(refused)
	}
}

// TestBcryptPatience waits for a comparison as long as a client may be kept
// waiting, and no longer than the client itself waits.
func TestBcryptPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newBcryptChecks()
		for range cap(c.slots) {
			c.slots <- struct{}{}
		}
		started := time.Now()
		if err := c.acquire(context.Background()); !errors.Is(err, errBusy) || time.Since(started) != checkPatience {
			t.Errorf("%v after %s", err, time.Since(started))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		started = time.Now()
		if err := c.acquire(ctx); !errors.Is(err, errBusy) || time.Since(started) != time.Second {
			t.Errorf("%v after %s", err, time.Since(started))
		}
		if n := c.waiting.Load(); n != 0 {
			t.Errorf("%d wait", n)
		}
		// Among many, not at all.
		c.waiting.Store(maxWaitingChecks)
		started = time.Now()
		if err := c.acquire(context.Background()); !errors.Is(err, errBusy) || time.Since(started) != 0 {
			t.Errorf("%v after %s", err, time.Since(started))
		}
	})
}

// TestBcryptMemory bounds what is remembered.
func TestBcryptMemory(t *testing.T) {
	t.Parallel()
	c := newBcryptChecks()
	for i := range maxVerified + 10 {
		c.remember([]byte("hash"), fmt.Sprint(i))
	}
	if len(c.verified) != maxVerified || !c.remembered([]byte("hash"), fmt.Sprint(maxVerified+9)) {
		t.Errorf("%d are remembered", len(c.verified))
	}
}

// turnConn notes that its turn has ended.
type turnConn struct {
	addressConn
	ended bool
}

func (c *turnConn) EndTurn() { c.ended = true }

// TestTurnEndsBeforeBcrypt has a token be compared with a hash, which is no part of the turn in
// which the request was read; and one that is compared with no hash.
func TestTurnEndsBeforeBcrypt(t *testing.T) {
	t.Parallel()
	f := openTokens(t, "plain:plain", "a:"+bcryptOf(t, "token"))
	conn := &turnConn{addressConn: addressConn{remote: &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1}}}
	f.checks.compare = func(hash, token []byte) error {
		if !conn.ended {
			t.Error("it is compared in a turn")
		}
		return bcrypt.CompareHashAndPassword(hash, token)
	}
	for range 2 { // the second time it is remembered
		for _, user := range []string{"plain", "a"} {
			conn.ended = false
			r := requestOf(user, map[string]string{"plain": "plain", "a": "token"}[user])
			r = r.WithContext(NewPeer(conn).Context(r.Context()))
			if _, refused := New(Config{Tokens: f}, zerolog.Nop()).Admit(r); refused != nil {
				t.Error(refused)
			}
			if user == "plain" && conn.ended {
				t.Error("the turn has ended although nothing is computed")
			}
		}
	}
	if conn.ended {
		t.Error("the turn has ended for what is remembered")
	}
}
