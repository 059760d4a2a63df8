package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/proxy"
)

var start = time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)

func outcome(i int) *proxy.Outcome {
	return &proxy.Outcome{
		Kind: proxy.KindRequest, Logged: true, Time: start.Add(time.Duration(i) * time.Second), Duration: 1500 * time.Millisecond, FirstByte: 20 * time.Millisecond,
		Client: "run", Host: "chatgpt.com:443", Method: "GET", Path: fmt.Sprintf("/backend-api/codex/%d", i), Status: 200, Scheme: "AgentAssertion",
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var r Requests
	if got := r.Latest(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	r.Add(outcome(0))
	refused := outcome(1)
	refused.Status, refused.Refused, refused.Scheme = 403, "out_of_scope", ""
	r.Add(refused)
	quiet := outcome(2)
	quiet.Logged = false
	r.Add(quiet)
	want := []Request{
		{Ended: start.Add(2500 * time.Millisecond), Kind: "request", Method: "GET", Host: "chatgpt.com:443", Path: "/backend-api/codex/1", Status: 403, Seconds: 1.5, Client: "run", Refused: "out_of_scope"},
		{Ended: start.Add(1500 * time.Millisecond), Kind: "request", Method: "GET", Host: "chatgpt.com:443", Path: "/backend-api/codex/0", Status: 200, Seconds: 1.5, Scheme: "AgentAssertion", Client: "run"},
	}
	if diff := cmp.Diff(want, r.Latest()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := r.Latest(); !got[0].Failed() || got[1].Failed() || got[0].Duration() != 1500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	for i := range 3 * maxRequests {
		r.Add(outcome(i))
	}
	got := r.Latest()
	if len(got) != maxRequests || got[0].Path != "/backend-api/codex/299" || got[maxRequests-1].Path != "/backend-api/codex/200" {
		t.Errorf("%d, from %s to %s", len(got), got[0].Path, got[len(got)-1].Path)
	}
}

// TestRequestsAreBounded has clients send long words, and such as a terminal obeys.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	var r Requests
	const evil = "\x1b[2J\u009b\u202e\xff"
	for i := range maxRequests {
		o := outcome(i)
		long := evil + strings.Repeat("é", 100_000)
		o.Client, o.Host, o.Method, o.Path, o.Failure = long, long, long, long, long
		r.Add(o)
	}
	const most = maxMethod + maxHost + maxPath + maxClient + maxNote + 5*len("…")
	for i := range r.ring {
		if n := len(r.ring[i].words); n > most || cap(r.ring[i].words) > 2*most {
			t.Fatalf("%d bytes of words in %d, want %d at most", n, cap(r.ring[i].words), most)
		}
	}
	for _, request := range r.Latest() {
		for _, word := range []string{request.Client, request.Host, request.Method, request.Path, request.Failure} {
			if !strings.HasSuffix(word, "é…") || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q", word)
			}
		}
	}
}

// TestAddAllocatesNothing holds the cost for each request down.
func TestAddAllocatesNothing(t *testing.T) {
	var r Requests
	var c Counter
	o := outcome(1)
	for range maxRequests {
		r.Add(o)
	}
	if n := testing.AllocsPerRun(1000, func() { r.Add(o); c.Add(o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	var r Requests
	var c Counter
	o := outcome(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Add(o)
			c.Add(o)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	var r Requests
	var c Counter
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for i := range 1000 {
				r.Add(outcome(i))
				c.Add(outcome(i))
			}
		})
		running.Go(func() {
			for range 100 {
				r.Latest()
				c.Rates(start)
			}
		})
	}
	running.Wait()
}

func TestRates(t *testing.T) {
	t.Parallel()
	var c Counter
	c.Add(outcome(0))
	c.Add(outcome(1))
	bad := outcome(12) // of the next span
	bad.Status, bad.FirstByte = 502, 60*time.Millisecond
	c.Add(bad)
	refused := outcome(13)
	refused.Status, refused.Refused = 403, "out_of_scope"
	c.Add(refused)
	quiet := outcome(13)
	quiet.Logged = false
	c.Add(quiet)
	r := c.Rates(start.Add(25 * time.Second))
	tail := func(s []int) string { return fmt.Sprint(len(s), s[len(s)-4:]) }
	if got := tail(r.Requests) + tail(r.Failed) + tail(r.FirstByte); got != "60 [0 2 2 0]60 [0 0 2 0]60 [0 20 60 0]" || r.Minutes() != 10 {
		t.Errorf("%s, %d minutes", got, r.Minutes())
	}
	// Another round has nothing of the first one, whoever comes late.
	later := outcome(600)
	c.Add(later)
	c.Add(outcome(0))
	r = c.Rates(later.Time.Add(later.Duration))
	if got := tail(r.Requests); got != "60 [0 0 0 1]" || r.Requests.Sum() != 3 {
		t.Errorf("%s, %d in all", got, r.Requests.Sum())
	}
	if got := c.Rates(start.Add(24 * time.Hour)); slices.Max(got.Requests) != 0 {
		t.Errorf("a day later: %v", got.Requests)
	}
	for _, odd := range []time.Time{{}, time.Unix(-1, 0), time.Unix(5, 0)} {
		o := outcome(0)
		o.Time = odd
		c.Add(o)
		c.Rates(odd)
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		series          Series
		width           int
		line            string
		sum, most, last int
	}{
		{nil, 10, "", 0, 0, 0},
		{Series{0, 0}, 10, "▁▁", 0, 0, 0},
		{Series{0, 1, 1000, 500, 0}, 10, "▁▂█▅▁", 1501, 1000, 500},
		{Series{9, 0, 1, 7}, 3, "▁▂█", 17, 9, 7},
		{Series{1}, -1, "", 1, 1, 1},
	} {
		if got := test.series.Line(test.width); got != test.line || test.series.Sum() != test.sum || test.series.Most() != test.most || test.series.Last() != test.last {
			t.Errorf("%v: %q, %d, %d, %d", test.series, got, test.series.Sum(), test.series.Most(), test.series.Last())
		}
	}
	s := Series{0, 1, 20}
	if got, want := s.Path(), "M0 21v-1h4v1zM5 21v-2h4v2zM10 21v-21h4v21z"; got != want || s.Box() != "0 0 14 21" {
		t.Errorf("%s in %s", got, s.Box())
	}
}
