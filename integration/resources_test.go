//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// held is what the proxy's process holds of the system.
type held struct {
	descriptors int
	kilobytes   int // of memory that is no file's: heap and stacks
	threads     int
}

func (p *proxy) holds(t *testing.T) held {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(p.process.Pid))
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatalf("count the proxy's descriptors, as root: %v", err)
	}
	h := held{descriptors: len(descriptors)}
	for line := range strings.Lines(readFile(t, filepath.Join(dir, "status"))) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "RssAnon":
			h.kilobytes = n
		case "Threads":
			h.threads = n
		}
	}
	return h
}

// returnsTo waits until the proxy holds no more than that much more than before.
func (p *proxy) returnsTo(t *testing.T, before, more held, patience time.Duration) {
	t.Helper()
	start := time.Now()
	for {
		now := p.holds(t)
		if now.descriptors <= before.descriptors+more.descriptors && now.kilobytes <= before.kilobytes+more.kilobytes {
			t.Logf("held before: %+v, %v after the last request: %+v", before, time.Since(start).Round(time.Second), now)
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("the proxy holds %+v, and held %+v before", now, before)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
