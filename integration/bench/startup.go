//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// startUp prepares agentproxy run -- true with a CA that is there already, and
// env /bin/true as the measure. isolate is what --isolate says.
func startUp(isolate string) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		return b.startUp(ctx, i, isolate)
	}
}

func (b *bench) startUp(ctx context.Context, i *instance, isolate string) (*session, error) {
	dir := filepath.Join(b.dir, i.program+"-start-up-"+isolate)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	argv := []string{"env", "/bin/true"}
	var peak float64
	if i.program != direct {
		// As most people have it: no CA of their own among the system's roots.
		config, err := writeLogin(dir, "127.0.0.1:0", "")
		if err != nil {
			return nil, err
		}
		binary := b.binary
		if i.program == before {
			binary = b.before
		}
		run := []string{binary, "run", "--config", config, "--isolate", isolate, "--"}
		argv = append(slices.Clip(run), "/bin/true")
		// The child asks for its parent's peak, for what wait4(2) tells of a
		// process includes the one that started it.
		for range 3 { // the first one makes the CA
			hwm, err := peakRSS(ctx, dir, append(slices.Clip(run), "sh", "-c", "cat /proc/$PPID/status"))
			if err != nil {
				return nil, err
			}
			peak = hwm
		}
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			var took []time.Duration
			for range b.plan.startUps {
				began := time.Now()
				if _, err := runOnce(ctx, dir, argv); err != nil {
					return nil, err
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			m := metrics{keyWall: milliseconds(quantile(took, 0.5))}
			if peak > 0 {
				m[keyPeakRSS] = peak
			}
			return m, nil
		},
		close: func() {},
	}, nil
}

func runOnce(ctx context.Context, dir string, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, cleanEnviron(dir)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, lastLine(exit.Stderr))
	}
	return out, err
}

// lastLine is where programs say what has gone wrong.
func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}

func peakRSS(ctx context.Context, dir string, argv []string) (float64, error) {
	status, err := runOnce(ctx, dir, argv)
	if err != nil {
		return 0, err
	}
	return parsePeak(string(status))
}

// parsePeak reads the peak of the resident memory, in MB, from /proc/PID/status.
func parsePeak(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return megabytes(kib << 10), err
		}
	}
	return 0, fmt.Errorf("status %.60q does not tell the peak", status)
}
