//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// profiledScenarios are those whose cost is agentproxy's own.
var profiledScenarios = []string{idTurnWS, idTurnH1, idTurnH2, idH1, idH2, idFull, idResumed, idDownload, idUpload, idEvents, idEcho}

// profile puts agentproxy's data path under load, scenario by scenario, and
// writes a profile of its CPU time and one of its allocations for each into dir.
// It prints what a piece of work takes.
//
// The release binary has no profiler in it. What is profiled is this program,
// started again as a proxy with the same parts: see [serveProfiled].
func (b *bench) profile(ctx context.Context, selected []*scenario, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	i, pprof, err := b.startProfiled(ctx)
	if err != nil {
		return err
	}
	defer i.stop()
	fmt.Fprintln(b.log, "each request, connection, MB, event or echo takes\nscenario           allocations       bytes  CPU µs")
	for _, s := range selected {
		if slices.Contains(profiledScenarios, s.id) {
			if err := b.profileScenario(ctx, s, i, pprof, dir); err != nil {
				return fmt.Errorf("%s: %w", s.id, err)
			}
		}
	}
	if slices.ContainsFunc(selected, func(s *scenario) bool { return s.id == idIdle }) {
		if err := b.profileIdle(ctx, i, pprof, dir); err != nil {
			return fmt.Errorf("%s: %w", idIdle, err)
		}
	}
	for _, s := range selected {
		if s.id == idLiveWS || s.id == idLiveH2 {
			if err := b.profileLive(ctx, s.id, i, pprof, dir); err != nil {
				return fmt.Errorf("%s: %w", s.id, err)
			}
		}
	}
	b.logf("read them with: go tool pprof -top %s", filepath.Join(dir, "*.cpu.pprof"))
	return nil
}

// profileTime is how long a profile is taken.
const profileTime = 4 * time.Second

func (b *bench) profileScenario(ctx context.Context, s *scenario, i *instance, pprof, dir string) error {
	// A profile is taken within one round, which is long. The one before it
	// warms up.
	setTime := func(d time.Duration) { b.plan.request, b.plan.connect, b.plan.move, b.plan.echo = d, d, d, d }
	b.plan.events = int(profileTime / b.plan.eventGap)
	open, err := s.prepare(ctx, b, i)
	if err != nil {
		return err
	}
	defer open.close()
	setTime(profileTime / 8)
	if _, err := open.round(ctx); err != nil {
		return err
	}
	setTime(profileTime)

	var figures metrics
	var before, after runtime.MemStats
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := fetchJSON(ctx, pprof+"/memstats", &before)
		if err != nil {
			return err
		}
		if figures, err = open.round(ctx); err != nil {
			return err
		}
		return fetchJSON(ctx, pprof+"/memstats", &after)
	})
	for _, kind := range []string{"profile", "allocs"} {
		group.Go(func() error {
			name := strings.Replace(kind, "profile", "cpu", 1)
			return fetchFile(ctx, fmt.Sprintf("%s/debug/pprof/%s?seconds=%d", pprof, kind, profileTime/time.Second),
				filepath.Join(dir, s.id+"."+name+".pprof"))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	cpu := max(figures[keyCPU], figures[keyMBCPU])
	done := figures[keyDone]
	fmt.Fprintf(b.log, "%-18s %11.1f %11.0f %7.1f\n", s.id,
		float64(after.Mallocs-before.Mallocs)/done, float64(after.TotalAlloc-before.TotalAlloc)/done, cpu)
	return nil
}

// profileIdle tells what idle connections keep in memory.
func (b *bench) profileIdle(ctx context.Context, i *instance, pprof, dir string) error {
	clients, err := i.openIdle(ctx, b.plan.idle)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	return b.profileMemory(ctx, idIdle, b.plan.idle, i, pprof, dir)
}

// profileLive tells what live turns keep in memory.
func (b *bench) profileLive(ctx context.Context, id string, i *instance, pprof, dir string) error {
	kind := overSocket
	if id == idLiveH2 {
		kind = overH2
	}
	r := b.liveRound(kind)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := r.measure(ctx, i)
		return err
	})
	group.Go(func() error {
		select {
		case <-time.After(r.open + (time.Duration(r.events)*r.gap-r.open)/2):
		case <-ctx.Done():
			return ctx.Err()
		}
		return b.profileMemory(ctx, id, r.agents, i, pprof, dir)
	})
	return group.Wait()
}

// profileMemory writes what n connections or turns keep.
func (b *bench) profileMemory(ctx context.Context, id string, n int, i *instance, pprof, dir string) error {
	// Asked for like this, the profile is of what a collection has left.
	if err := fetchFile(ctx, pprof+"/debug/pprof/heap?gc=1", filepath.Join(dir, id+".heap.pprof")); err != nil {
		return err
	}
	if err := fetchFile(ctx, pprof+"/debug/pprof/goroutine", filepath.Join(dir, id+".goroutine.pprof")); err != nil {
		return err
	}
	var stats runtime.MemStats
	if err := fetchJSON(ctx, pprof+"/memstats", &stats); err != nil {
		return err
	}
	u, err := i.process.usage()
	if err != nil {
		return err
	}
	each := func(bytes uint64) float64 { return float64(bytes) / 1e3 / float64(n) }
	b.logf("%s: each of %d keeps %.1f kB in the heap and %.1f kB of stacks; the heap spans %.1f kB, the process %.1f kB",
		id, n, each(stats.HeapAlloc), each(stats.StackInuse), each(stats.HeapInuse), each(uint64(u.rss)))
	return nil
}

func fetch(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, errors.New(response.Status)
	}
	return response.Body, nil
}

func fetchJSON(ctx context.Context, url string, into any) error {
	body, err := fetch(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

func fetchFile(ctx context.Context, url, path string) error {
	body, err := fetch(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}
