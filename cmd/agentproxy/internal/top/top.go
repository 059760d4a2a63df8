// Package top shows the state of a running proxy in a terminal.
package top

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
)

// interval is how often the view is renewed.
const interval = 2 * time.Second

// Client asks a proxy for its state.
type Client interface {
	Status(ctx context.Context) (admin.Status, error)
}

var _ Client = (*admin.Client)(nil)

// Run shows the state of a proxy on a terminal until q is pressed or ctx ends. It reads keys
// from in if that is a terminal; in may be nil. It returns an error if the proxy does not
// answer at first. Later it waits for a proxy that went away.
func Run(ctx context.Context, c Client, in, out *os.File, colour bool) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	screen, err := enter(in, out)
	if err != nil {
		return err
	}
	defer screen.leave()
	keys, stop, err := watchKeys(ctx, &running, in)
	if err != nil {
		return err
	}
	defer stop()
	resized := make(chan os.Signal, 1)
	defer notifyResize(resized)()

	type answer struct {
		status admin.Status
		err    error
	}
	answers := make(chan answer)
	running.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var a answer
			a.status, a.err = c.Status(ctx)
			select {
			case <-ctx.Done():
				return
			case answers <- a:
			}
		}
	})

	v := &view{status: status, palette: logline.Palette(colour)}
	for {
		if v.width, v.height, err = term.GetSize(int(out.Fd())); err != nil {
			return err
		}
		if _, err := io.WriteString(out, v.frame()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case k := <-keys:
			if k == keySuspend {
				if err := screen.suspend(); err != nil {
					return err
				}
			} else if v.press(k) {
				return nil
			}
		case a := <-answers:
			if v.paused {
				break
			}
			if v.err = a.err; a.err == nil {
				v.status = a.status
			}
		}
	}
}

// watchKeys sends the keys that are pressed, if in is a terminal, until stop is called.
func watchKeys(ctx context.Context, running *sync.WaitGroup, in *os.File) (keys chan key, stop func(), err error) {
	keys = make(chan key)
	if !cli.IsTerminal(in) {
		return keys, func() {}, nil
	}
	r, err := cancelreader.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	running.Go(func() {
		defer r.Close()
		readKeys(r, func(k key) {
			select {
			case <-ctx.Done():
			case keys <- k:
			}
		})
	})
	return keys, func() { r.Cancel() }, nil
}

// screen is a terminal in which a view has taken the place of what was there.
type screen struct {
	in, out *os.File
	former  *term.State // nil if in is no terminal
}

// enter takes over a terminal.
func enter(in, out *os.File) (*screen, error) {
	s := &screen{in: in, out: out}
	return s, s.take()
}

func (s *screen) take() error {
	if cli.IsTerminal(s.in) {
		former, err := term.MakeRaw(int(s.in.Fd()))
		if err != nil {
			return err
		}
		s.former = former
	}
	_, err := io.WriteString(s.out, enterScreen)
	return err
}

// leave leaves a terminal as it was.
func (s *screen) leave() {
	_, _ = io.WriteString(s.out, leaveScreen)
	if s.former != nil {
		_ = term.Restore(int(s.in.Fd()), s.former)
	}
}
