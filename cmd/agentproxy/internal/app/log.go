package app

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// NewLogger returns the log that goes to w.
func NewLogger(c config.Log, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	return zerolog.New(logWriter(c.Format, w)).Level(level).With().Timestamp().Logger()
}

// NewWarnings returns a log that hands w an event in JSON for each warning and error, and
// leaves out what c leaves out.
func NewWarnings(c config.Log, w io.Writer) zerolog.Logger {
	if level, _ := zerolog.ParseLevel(c.Level); level < zerolog.WarnLevel {
		c.Level = zerolog.LevelWarnValue
	}
	c.Format = "json"
	return NewLogger(c, w)
}

// logWriter returns a writer that writes log events to w in a format.
func logWriter(format string, w io.Writer) io.Writer {
	if format == "console" || format == "auto" && cli.IsTerminal(w) {
		return logline.NewWriter(w, cli.Colour(w, os.Getenv))
	}
	return escapingWriter{w}
}

// escapingWriter writes events in JSON, with an escape in place of every rune that could
// control a terminal or turn what is read around. zerolog escapes those of ASCII.
type escapingWriter struct{ to io.Writer }

// Write implements [io.Writer].
func (w escapingWriter) Write(event []byte) (int, error) {
	line := bytes.TrimSuffix(event, []byte{'\n'})
	escaped := strictjson.AppendPrintable(make([]byte, 0, len(event)+64), line)
	if _, err := w.to.Write(append(escaped, event[len(line):]...)); err != nil {
		return 0, err
	}
	return len(event), nil
}

// DeferredLog holds back the warnings of a command until it has ended: if the command
// fails, its error may say the same, and one line is enough. The zero value is ready
// to use.
type DeferredLog struct {
	mu     sync.Mutex
	out    io.Writer // nil if nothing was logged
	events [][]byte
}

// Logger returns a log that is held back, and later goes to w.
func (d *DeferredLog) Logger(c config.Log, w io.Writer) zerolog.Logger {
	if c.Format == "auto" {
		c.Format = "console" // a person runs the command
	}
	d.out = logWriter(c.Format, w)
	return NewWarnings(c, d)
}

// Write implements [io.Writer]. p is an event in JSON.
func (d *DeferredLog) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, bytes.Clone(p))
	return len(p), nil
}

// Flush writes what was held back, but for events whose error is part of err.
func (d *DeferredLog) Flush(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, event := range d.events {
		var logged struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(event, &logged)
		if err == nil || logged.Error == "" || !strings.Contains(err.Error(), logged.Error) {
			_, _ = d.out.Write(event)
		}
	}
	d.events = nil
}
