//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// held is what the proxy's process holds.
type held struct {
	descriptors int
	kilobytes   int // of memory that is no file's: heap and stacks
	goroutines  int // 0 where there is no admin port to ask
}

func (p *proxy) holds(t *testing.T) held {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(p.process.Pid))
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatalf("count the proxy's descriptors, as root: %v", err)
	}
	h := held{descriptors: len(descriptors), kilobytes: p.kilobytes(t)}
	if p.fixture.admin != "" {
		h.goroutines = p.metric(t, "go_goroutines")
	}
	return h
}

// kilobytes returns what memory the proxy has that is no file's, without asking the proxy: to
// answer takes memory, too.
func (p *proxy) kilobytes(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/status", p.process.Pid))) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel does not say what memory the proxy has")
	return 0
}

// metric returns a number of the proxy's metrics.
func (p *proxy) metric(t *testing.T, name string) int {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: rawTimeout}).Get("http://" + p.fixture.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("the metrics have no %s", name)
	return 0
}

// returnsTo waits until the proxy holds no more than that much more than before.
func (p *proxy) returnsTo(t *testing.T, before, more held, patience time.Duration) {
	t.Helper()
	start := time.Now()
	for {
		now := p.holds(t)
		if now.descriptors <= before.descriptors+more.descriptors && now.kilobytes <= before.kilobytes+more.kilobytes &&
			now.goroutines <= before.goroutines+more.goroutines {
			t.Logf("held before: %+v, %v after the last request: %+v", before, time.Since(start).Round(time.Second), now)
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("the proxy holds %+v, and held %+v before", now, before)
		}
		// Being asked all the time is no rest.
		time.Sleep(min(100*time.Millisecond+time.Since(start)/4, 5*time.Second))
	}
}
