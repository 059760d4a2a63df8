package ratelimit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// clock tells a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func patterns(t *testing.T, list ...string) (ps access.LabelPatterns) {
	t.Helper()
	for _, s := range list {
		p, err := access.ParseLabelPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// TestThousandASecond has 50 labels send 1,000 requests a second between them, each with
// a limit of its own, for four minutes. Every one gets what it may within one per cent,
// and never more in any minute.
func TestThousandASecond(t *testing.T) {
	t.Parallel()
	const labels, minutes = 50, 4
	c := newClock()
	l := New(c.now)
	limit := func(i int) int { return []int{0, 7, 60, 600, 1100}[i%5] } // of 1,200 that it sends in a minute
	rules := &Rules{PerLabel: Limits{RequestsPerMinute: 600}}
	for i := range labels {
		rules.Labels = append(rules.Labels, LabelRule{patterns(t, fmt.Sprint("label-", i)), Limits{RequestsPerMinute: limit(i)}})
	}
	var admitted [labels][]time.Time
	random := rand.New(rand.NewPCG(1, 1))
	start := c.now()
	for range minutes * 60 * 1000 / labels {
		for _, i := range random.Perm(labels) {
			if l.Request(Client{Label: fmt.Sprint("label-", i)}, rules) == nil {
				admitted[i] = append(admitted[i], c.now())
			}
			c.advance(time.Millisecond)
		}
	}
	for i, at := range admitted {
		most := limit(i)
		if most == 0 {
			if len(at) != minutes*60*1000/labels {
				t.Errorf("label %d, without a limit: %d requests", i, len(at))
			}
			continue
		}
		if got, want := float64(len(at)), float64(most*minutes); math.Abs(got-want) > 0.01*want {
			t.Errorf("label %d got %.0f requests, want %.0f", i, got, want)
		}
		first := 0
		for _, a := range at {
			if a.Sub(start) < time.Minute {
				first++
			}
		}
		if first != most {
			t.Errorf("label %d got %d requests in the first minute, want %d", i, first, most)
		}
		for n := most; n < len(at); n++ {
			if at[n].Sub(at[n-most]) < time.Minute {
				t.Fatalf("label %d sent %d requests in %s", i, most+1, at[n].Sub(at[n-most]))
			}
		}
	}
}

// TestAnyMinute compares the window with a list of all times, for every kind of arrival.
func TestAnyMinute(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 2))
		c := newClock()
		l := New(c.now)
		most := 1 + random.IntN(40)
		rules := &Rules{PerLabel: Limits{RequestsPerMinute: most}}
		var at []time.Time
		for range 1500 {
			switch random.IntN(20) {
			case 0:
				c.advance(time.Duration(random.Int64N(int64(3 * time.Minute))))
			default:
				c.advance(time.Duration(random.ExpFloat64() * float64(time.Minute) / float64(2*most)))
			}
			within := func(d time.Duration) (n int) {
				for i := len(at) - 1; i >= 0 && c.now().Sub(at[i]) < d; i-- {
					n++
				}
				return n
			}
			refused := l.Request(Client{Label: "a"}, rules)
			switch {
			case refused == nil && within(time.Minute) >= most:
				t.Fatalf("seed %d: one more than %d in a minute", seed, most)
			case refused != nil && within(time.Minute+slot) < most:
				t.Fatalf("seed %d: refused after %d of %d", seed, within(time.Minute+slot), most)
			case refused == nil:
				at = append(at, c.now())
				continue
			}
			if refused.RetryAfter <= 0 || refused.RetryAfter > 61*time.Second {
				t.Fatalf("seed %d: Retry-After %s", seed, refused.RetryAfter)
			}
			// Whoever comes back then is served, if nobody else was.
			if random.IntN(4) == 0 {
				c.advance(time.Duration(refuse.Seconds(refused.RetryAfter)) * time.Second)
				if again := l.Request(Client{Label: "a"}, rules); again != nil {
					t.Fatalf("seed %d: refused again: %s", seed, again)
				}
				at = append(at, c.now())
			}
		}
	}
}

// TestRetryAfterIsNotLater: a client is not told to wait longer than it must.
func TestRetryAfterIsNotLater(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(c.now)
	rules := &Rules{PerLabel: Limits{RequestsPerMinute: 2}}
	for _, step := range []time.Duration{10 * time.Second, 20 * time.Second} {
		if refused := l.Request(Client{Label: "a"}, rules); refused != nil {
			t.Fatal(refused)
		}
		c.advance(step)
	}
	refused := l.Request(Client{Label: "a"}, rules)
	if refused == nil || refused.Status != http.StatusTooManyRequests || refused.Code != "too_many_requests" || refused.RetryAfter < 29*time.Second || refused.RetryAfter > 31*time.Second {
		t.Fatalf("%+v", refused)
	}
	if got := refused.Header().Get("Retry-After"); got != fmt.Sprint(refuse.Seconds(refused.RetryAfter)) {
		t.Errorf("Retry-After: %s", got)
	}
	if !strings.Contains(refused.Message, `"a"`) || !strings.Contains(refused.Message, "2 requests") {
		t.Error(refused.Message)
	}
}

// TestTotal: all labels of a profile share its total, and no other profile does.
func TestTotal(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(c.now)
	rules := &Rules{PerLabel: Limits{3, 3}, Total: Limits{5, 5}}
	requests, streams := 0, 0
	for i := range 30 {
		who := Client{Label: fmt.Sprint(i % 10), Profile: "builds"}
		if l.Request(who, rules) == nil {
			requests++
		}
		if _, refused := l.Stream(who, rules); refused == nil {
			streams++
		} else if refused.Code != "too_many_streams" || !strings.Contains(refused.Message, "profile builds") {
			t.Errorf("%+v", refused)
		}
	}
	if requests != 5 || streams != 5 {
		t.Errorf("%d requests, %d streams, want 5", requests, streams)
	}
	if refused := l.Request(Client{Label: "0"}, rules); refused != nil {
		t.Errorf("a client without a profile: %s", refused)
	}
	// What the total refuses does not count for the label.
	c.advance(2 * time.Minute)
	free := &Rules{PerLabel: Limits{RequestsPerMinute: 3}}
	for range 10 {
		_ = l.Request(Client{Label: "x", Profile: "tight"}, &Rules{PerLabel: Limits{RequestsPerMinute: 3}, Total: Limits{RequestsPerMinute: 1}})
	}
	for i := range 2 {
		if refused := l.Request(Client{Label: "x"}, free); refused != nil {
			t.Errorf("%d: %s", i, refused)
		}
	}
}

// TestStreams: a stream counts until it ends, and once.
func TestStreams(t *testing.T) {
	t.Parallel()
	l := New(newClock().now)
	rules := &Rules{PerLabel: Limits{Streams: 2}, Labels: []LabelRule{{patterns(t, "big-*"), Limits{Streams: 4}}, {patterns(t, "free"), Limits{}}}}
	for label, most := range map[string]int{"small": 2, "big-1": 4, "": 2} {
		var open []func()
		for range most {
			done, refused := l.Stream(Client{Label: label}, rules)
			if refused != nil {
				t.Fatalf("%s: %s", label, refused)
			}
			open = append(open, done)
		}
		if _, refused := l.Stream(Client{Label: label}, rules); refused == nil || refused.Header().Get("Retry-After") != "5" {
			t.Errorf("%s: %+v", label, refused)
		}
		open[0]()
		open[0]()
		if _, refused := l.Stream(Client{Label: label}, rules); refused != nil {
			t.Errorf("%s, after one has ended: %s", label, refused)
		}
		if _, refused := l.Stream(Client{Label: label}, rules); refused == nil {
			t.Errorf("%s: ended once, and counted twice", label)
		}
	}
	for range 1000 {
		if _, refused := l.Stream(Client{Label: "free"}, rules); refused != nil {
			t.Fatal(refused)
		}
	}
}

// TestChangedLimits: a limit that a reload changes holds for what has been counted.
func TestChangedLimits(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(c.now)
	who := Client{Label: "a"}
	limited := func(n int) bool { return l.Request(who, &Rules{PerLabel: Limits{RequestsPerMinute: n}}) != nil }
	for range 10 {
		if limited(10) {
			t.Fatal("refused within the limit")
		}
	}
	if !limited(5) || !limited(10) || limited(11) {
		t.Error("the number of the limit does not decide")
	}
	c.advance(61 * time.Second)
	if limited(1) || !limited(1) {
		t.Error("after a minute")
	}
}

// TestMemory: labels that clients make up fill no memory, and cost no other a request.
func TestMemory(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(c.now)
	rules := &Rules{PerLabel: Limits{RequestsPerMinute: 2}}
	if refused := l.Request(Client{Label: "first"}, rules); refused != nil {
		t.Fatal(refused)
	}
	admitted := 0
	for i := range 3 * maxLabels {
		if l.Request(Client{Label: fmt.Sprint("made-up-", i)}, rules) == nil {
			admitted++
		}
	}
	if len(l.labels) > maxLabels || admitted != maxLabels-1+2 {
		t.Errorf("%d labels are kept, %d requests were admitted", len(l.labels), admitted)
	}
	if l.Request(Client{Label: "first"}, rules) != nil || l.Request(Client{Label: "first"}, rules) == nil {
		t.Error("a label that was there before has lost its own count")
	}
	// All are forgotten when they are a minute old.
	c.advance(2 * time.Minute)
	for i := range 2 * minSweep {
		_ = l.Request(Client{Label: fmt.Sprint("later-", i)}, rules)
	}
	if len(l.labels) > 2*minSweep {
		t.Errorf("%d labels are kept after two minutes", len(l.labels))
	}
}

// TestMemoryKeepsStreams: a label is not forgotten while a stream of its runs.
func TestMemoryKeepsStreams(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := New(c.now)
	rules := &Rules{PerLabel: Limits{Streams: 1}}
	done, _ := l.Stream(Client{Label: "a"}, rules)
	for i := range 4 * minSweep {
		c.advance(time.Second)
		end, _ := l.Stream(Client{Label: fmt.Sprint(i)}, rules)
		end()
	}
	if _, refused := l.Stream(Client{Label: "a"}, rules); refused == nil {
		t.Error("its stream was forgotten")
	}
	done()
	if _, refused := l.Stream(Client{Label: "a"}, rules); refused != nil {
		t.Error(refused)
	}
}

// TestConcurrent: no label is admitted more than its limit by clients at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(time.Now)
		rules := &Rules{PerLabel: Limits{RequestsPerMinute: 100, Streams: 10}, Total: Limits{RequestsPerMinute: 4000}}
		var mu sync.Mutex
		admitted, most, open := make(map[string]int), make(map[string]int), make(map[string]int)
		var wait sync.WaitGroup
		for i := range 50 * 20 {
			who := Client{Label: fmt.Sprint("label-", i%50)}
			wait.Go(func() {
				for range 10 {
					if l.Request(who, rules) == nil {
						mu.Lock()
						admitted[who.Label]++
						mu.Unlock()
					}
					if done, refused := l.Stream(who, rules); refused == nil {
						mu.Lock()
						open[who.Label]++
						most[who.Label] = max(most[who.Label], open[who.Label])
						mu.Unlock()
						time.Sleep(time.Millisecond)
						mu.Lock()
						open[who.Label]--
						mu.Unlock()
						done()
					}
				}
			})
		}
		wait.Wait()
		total := 0
		for label, n := range admitted {
			total += n
			if n > 100 || most[label] > 10 {
				t.Errorf("%s: %d requests, %d streams at a time", label, n, most[label])
			}
		}
		if total != 4000 {
			t.Errorf("%d requests of all labels, want 4000", total)
		}
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, good := range []Limits{{}, {1, 1}, {maxRequests, maxRequests}} {
		if _, err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Limits{{RequestsPerMinute: -1}, {Streams: -1}, {RequestsPerMinute: maxRequests + 1}} {
		if _, err := bad.Validate(); err == nil {
			t.Errorf("%+v", bad)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	l := New(time.Now)
	rules := &Rules{PerLabel: Limits{RequestsPerMinute: 60}}
	labels := make([]string, 50)
	for i := range labels {
		labels[i] = fmt.Sprint("label-", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		_ = l.Request(Client{Label: labels[i%50]}, rules)
	}
}
