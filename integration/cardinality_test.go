//go:build linux

package integration

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// clientsMark is part of everything that TestCardinality makes up.
const clientsMark = "zq7x"

// TestCardinality has clients make up hosts, paths, queries, labels, methods, user
// agents and statuses, thousands of each. The number of series does not grow with
// them, and no label of any has a word of theirs.
func TestCardinality(t *testing.T) {
	t.Parallel()
	authz := freeAddress(t)
	f := newFixture(t, fixtureConfig{
		yaml:    fmt.Sprintf("signer: {use: bearer}\nauthz: {listen: %q, label_header: X-Label}\nlimits: {labels_per_client: 3000}", authz),
		backend: chatgpttest.Config{Hosts: []string{"chatgpt.com", "*.chatgpt.com"}},
	})
	admin := f.adminOn(t)
	p := f.serve(t)
	f.makeUp(t, p, authz, 50)
	before, _ := scrape(t, admin)
	f.makeUp(t, p, authz, 1000)
	after, text := scrape(t, admin)

	// What is bounded has its bound reached at the latest by then: 20 statuses
	// for each of 5 host patterns and "other".
	if len(after) > 500 || len(after) > 2*len(before) {
		t.Errorf("%d series, %d before", len(after), len(before))
	}
	if strings.Contains(strings.ToLower(text), clientsMark) {
		t.Error("the metrics hold what clients made up")
	}
	allowed := map[string]string{
		"host":      `chatgpt\.com|\*\.chatgpt\.com|other`,
		"signer":    `agent-assertion|bearer|none`,
		"code":      `[0-9]{3}|[1-5]xx|none|ok|[a-z_]+`,
		"profile":   ``,
		"kind":      `request|plain|tunnel|websocket|connect`,
		"operation": `[a-z_]+`,
		"result":    `[a-z_]+`,
	}
	label := regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	codes := make(map[string]bool)
	for name := range after {
		if !strings.HasPrefix(name, "agentproxy_") || strings.HasPrefix(name, "agentproxy_build_info") {
			continue
		}
		for _, l := range label.FindAllStringSubmatch(name, -1) {
			if l[1] == "le" {
				continue
			}
			if values, ok := allowed[l[1]]; !ok || !regexp.MustCompile(`^(`+values+`)$`).MatchString(l[2]) {
				t.Errorf("%s: %s is %q", name, l[1], l[2])
			}
			if l[1] == "code" {
				codes[l[2]] = true
			}
		}
	}
	if len(codes) < 15 || len(codes) > 40 {
		t.Errorf("%d codes: %v", len(codes), codes)
	}
	total := 0.
	for name, value := range after {
		if strings.HasPrefix(name, "agentproxy_requests_total") || strings.HasPrefix(name, "agentproxy_connects_total") || strings.HasPrefix(name, "agentproxy_authz_total") {
			total += value
		}
	}
	if total < 4000 {
		t.Errorf("%v requests were counted", total)
	}
}

// makeUp sends n requests of each kind with random words in them, and has a gateway
// ask about as many.
func (f *fixture) makeUp(t *testing.T, p *proxy, authz string, n int) {
	t.Helper()
	word := func() string { return fmt.Sprintf("%s%d", clientsMark, rand.Uint64()) }
	prepare := func(method, url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(word()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", word())
		r.Header.Set("Proxy-Authorization", basic(word()))
		r.Header.Set("X-"+word(), word())
		return r
	}
	plain := p.client(t, "")
	gateway := &http.Client{Transport: new(http.Transport)}
	defer gateway.CloseIdleConnections()
	var group errgroup.Group
	group.SetLimit(8)
	send := func(c *http.Client, r *http.Request) {
		group.Go(func() error {
			response, err := c.Do(r)
			if err != nil {
				return nil // CONNECT was refused
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return err
		})
	}
	for i := range n {
		send(plain, prepare(strings.ToUpper(word()), "http://"+word()+".example/"+word()+"?"+word()))
		send(plain, prepare(http.MethodGet, "https://"+word()+".example/"))
		ask := prepare(http.MethodGet, "http://"+authz+"/ext-authz/"+[]string{word() + ".example", word() + ".chatgpt.com"}[i%2]+"/"+word()+"?"+word())
		ask.Header.Set("X-Label", word())
		send(gateway, ask)
		if i%20 == 0 {
			c := p.client(t, word())
			host := []string{"chatgpt.com", word() + ".chatgpt.com"}[i/20%2]
			for range 20 {
				r := prepare([]string{http.MethodGet, http.MethodPost, strings.ToUpper(word())}[rand.N(3)],
					fmt.Sprintf("https://%s/backend-api/test/status/%d?%s", host, 200+rand.N(400), word()))
				send(c, r)
			}
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
