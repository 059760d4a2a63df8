package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy"
)

// topInterval is how often the view is renewed.
const topInterval = 2 * time.Second

// The control sequences: switch to another screen without a cursor and back, go to the
// upper left corner, clear the rest of a line and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toCorner    = "\x1b[H"
	clearLine   = "\x1b[K"
	clearScreen = "\x1b[J"
)

// Top shows the state of the proxy of a client on a terminal until ctx ends.
func Top(ctx context.Context, c *Client, terminal *os.File) (err error) {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(terminal, enterScreen)
	defer func() { fmt.Fprint(terminal, leaveScreen) }()
	tick := time.NewTicker(topInterval)
	defer tick.Stop()
	for {
		view := s.Text()
		if err != nil { // it may come back
			view = bytes.NewBufferString(cli.Printable(err.Error()) + "\n")
		}
		width, height, sizeErr := term.GetSize(int(terminal.Fd()))
		if sizeErr != nil {
			return sizeErr
		}
		if _, err := io.WriteString(terminal, toCorner+fitted(view.String(), width, height)+clearScreen); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s, err = c.Status(ctx); ctx.Err() != nil {
			return nil
		}
	}
}

// fitted returns the part of a text that a screen holds.
func fitted(text string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	lines = lines[:min(len(lines), max(height, 1))]
	for i, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width])
		}
		lines[i] = line + clearLine
	}
	return strings.Join(lines, "\n")
}

// Text returns the status for people at a terminal.
func (s Status) Text() *bytes.Buffer {
	var b bytes.Buffer
	row := func(w io.Writer, cells ...any) {
		words := make([]string, len(cells))
		for i, cell := range cells {
			words[i] = cli.Printable(fmt.Sprint(cell))
		}
		fmt.Fprintln(w, strings.Join(words, "\t"))
	}
	table := func(cells ...any) *tabwriter.Writer {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		row(w, cells...)
		return w
	}
	fmt.Fprintf(&b, "agentproxy %s, up %s\n", cli.Printable(s.Version), roughly(s.Ago(s.Started)))
	total := s.Total()
	fmt.Fprintf(&b, "%s to clients, %s from them; CA good for %s", byteCount(total.Sent), byteCount(total.Received), roughly(s.Left(s.CAExpires)))
	if s.ClockExcess != 0 {
		fmt.Fprintf(&b, "; WRONG CLOCK: the backend's is %.0f s ahead, set this machine's", s.ClockExcess)
	} else if s.ClockOffset != 0 {
		fmt.Fprintf(&b, "; the backend's clock is %.0f s ahead", s.ClockOffset)
	}
	b.WriteString("\n\n")

	w := table("PROFILE", "SIGNS", "TASK", "TOKEN", "QUOTA", "")
	for _, agent := range s.List() {
		signs, about := any(agent.Scheme), agent.As
		if !agent.Ready {
			signs, about = "no: "+agent.Code, agent.Message
		}
		token := "-"
		switch {
		case agent.LoginEnded != "":
			token = "log in again"
		case agent.TokenExpires != nil && agent.Left() == 0:
			token = "expired"
		case agent.TokenExpires != nil:
			token = roughly(agent.Left())
		}
		task := dashed(agent.Task)
		if agent.TaskOverdue != "" {
			task += " (overdue)"
		}
		row(w, dashed(agent.Profile), signs, task, token, dashed(agent.Quota.String()), about)
	}
	w.Flush()

	if len(s.Live) > 0 {
		fmt.Fprintf(&b, "\n%s\n", s.Counts())
		w = table("KIND", "CLIENT", "HOST", "FOR", "RECEIVED", "SENT")
		for _, x := range s.Live {
			received, sent := byteCount(x.Received), byteCount(x.Sent)
			if x.Kind == proxy.KindTunnel {
				received, sent = "-", "-"
			}
			row(w, x.Kind, dashed(x.Client), x.Host, roughly(s.Ago(x.Started)), received, sent)
		}
		w.Flush()
	}
	if len(s.OutOfScope) > 0 {
		b.WriteString("\n")
		w = table("OUT OF SCOPE", "TIMES", "AGO", "CLIENT", "REQUEST", "BECAUSE OF")
		for _, m := range s.OutOfScope {
			row(w, missAction(m.Sent), m.Count, roughly(s.Ago(m.Last)), dashed(m.Client), m.Method+" https://"+strings.TrimSuffix(m.Host, ":443")+m.Path, m.Reason)
		}
		w.Flush()
		if lines := s.Widening(); lines != "" {
			b.WriteString("\nTo allow them, add to the configuration:\n\nscope:\n  allow:\n    # … what is there now\n")
			for line := range strings.Lines(lines) {
				b.WriteString(cli.Printable(strings.TrimSuffix(line, "\n")) + "\n")
			}
		}
	}
	if len(s.Refusals) > 0 {
		b.WriteString("\n")
		w = table("REFUSED", "TIMES", "AGO", "CLIENT", "HOST", "WHY")
		for _, r := range s.Refusals {
			row(w, r.Code, r.Count, roughly(s.Ago(r.Last)), dashed(r.Client), dashed(r.Host), r.Reason)
		}
		w.Flush()
	}
	return &b
}

func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
