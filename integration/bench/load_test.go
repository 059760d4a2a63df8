//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestReadAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"length":        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length:  5\r\n\r\nhello",
		"chunked":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"with trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n\r\n",
	} {
		// Two answers, so that the first one has to be left at its end.
		r := bufio.NewReader(strings.NewReader(text + text))
		a, err := readAnswer(r)
		if err == nil {
			err = a.skip(r)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a, err = readAnswer(r)
		if err != nil {
			t.Errorf("%s: the second: %v", name, err)
			continue
		}
		if body, err := io.ReadAll(a.body(r)); string(body) != "hello" || err != nil {
			t.Errorf("%s: body %q, %v", name, body, err)
		}
	}
	for _, text := range []string{
		"",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
	} {
		if a, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q was taken for %+v", text, a)
		}
	}
}

func TestConnect(t *testing.T) {
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\n\r\n":                                   true,
		"HTTP/1.0 200 Connection established\r\nVia: squid\r\n\r\n": true,
		"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n":        false,
		"HTTP/1.1 200": false,
	} {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if _, err := server.Read(make([]byte, 4096)); err == nil {
				_, _ = io.WriteString(server, answer)
			}
		}()
		if err := connect(client, "chatgpt.com:443"); (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
		client.Close()
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for part, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(hundred, part); got != want {
			t.Errorf("quantile %v is %d, want %d", part, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing is %d", got)
	}
}

func TestEventTime(t *testing.T) {
	if got, ok, err := eventTime([]byte(`data: {"sent":1500,"delta":" word"}`)); got != 1500 || !ok || err != nil {
		t.Errorf("%v, %v, %v", got, ok, err)
	}
	if _, ok, err := eventTime([]byte("event: response.output_text.delta")); ok || err != nil {
		t.Errorf("a line without data: %v, %v", ok, err)
	}
	if _, _, err := eventTime([]byte(`data: {"sent":soon,`)); err == nil {
		t.Error("no time, and no error")
	}
}

// idler is a client that takes its time and can fail.
type idler struct{ err error }

func (c idler) do() error { time.Sleep(time.Millisecond); return c.err }
func (c idler) close()    {}

func TestDrive(t *testing.T) {
	l, err := drive(t.Context(), []client{idler{}, idler{}}, 20*time.Millisecond, nil)
	if err != nil || l.done == 0 || l.done != len(l.latencies) || l.latencies[0] < time.Millisecond {
		t.Errorf("%+v, %v", l, err)
	}
	broken := errors.New("broken")
	if _, err := drive(t.Context(), []client{idler{}, idler{broken}}, 20*time.Millisecond, nil); !errors.Is(err, broken) {
		t.Errorf("a client that failed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := drive(ctx, []client{idler{}}, time.Millisecond, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestPlan(t *testing.T) {
	for _, name := range []string{"", "full", "quick"} {
		if p, err := planFor(name); err != nil || p.rounds == 0 || p.atMost == 0 {
			t.Errorf("BENCH=%s: %+v, %v", name, p, err)
		}
	}
	if _, err := planFor("fast"); err == nil {
		t.Error("BENCH=fast is a plan")
	}
}

func TestSelectScenarios(t *testing.T) {
	if all, err := selectScenarios(""); err != nil || len(all) != len(scenarios) {
		t.Errorf("%d, %v", len(all), err)
	}
	if two, err := selectScenarios("sse,h1-16"); err != nil || len(two) != 2 || two[0].id != idEvents {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := selectScenarios("h3"); err == nil {
		t.Error("h3 is a scenario")
	}
}
