// Package logline writes the log for people, an event a line and the main thing first, and
// has the words and colours that the log, the page, top and check share.
package logline

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/signer"
)

// exchangeMessage is the message of the access log's lines.
const exchangeMessage = "exchange"

// NewWriter returns a writer that takes log events in JSON and writes a line for each to
// w. A line holds no rune that is not printable, but for its colours.
func NewWriter(w io.Writer, colour bool) io.Writer {
	p := Palette(colour)
	return zerolog.ConsoleWriter{
		Out: w, TimeFormat: time.TimeOnly, NoColor: !colour,
		PartsOrder:    []string{zerolog.TimestampFieldName, zerolog.LevelFieldName, zerolog.MessageFieldName},
		FormatLevel:   p.level,
		FormatPrepare: func(event map[string]any) error { p.prepare(event); return nil },
		// It was made of printable words by prepare.
		FormatMessage:       func(message any) string { return fmt.Sprint(message) },
		FormatFieldValue:    func(value any) string { return cli.Printable(fmt.Sprintf("%s", value)) },
		FormatErrFieldValue: func(value any) string { return cli.Printable(fmt.Sprintf("%s", value)) },
	}
}

// level returns what a line says of an event's level: nothing of the usual one.
func (p Palette) level(level any) string {
	switch level {
	case zerolog.LevelDebugValue:
		return p.Paint(Faint, "DBG")
	case zerolog.LevelWarnValue:
		return p.Paint(Yellow, "WRN")
	case zerolog.LevelErrorValue:
		return p.Paint(Red, "ERR")
	}
	return ""
}

// prepare makes the message of an event say what a line begins with, and takes out of the
// event the fields that are said by that.
func (p Palette) prepare(event map[string]any) {
	take := func(field string) string {
		value, ok := event[field]
		delete(event, field)
		if !ok {
			return ""
		}
		return cli.Printable(fmt.Sprint(value))
	}
	if wait, ok := event["at_most"]; ok {
		event["at_most"] = Duration(durationOf(wait))
	}
	message := take(zerolog.MessageFieldName)
	if message == exchangeMessage {
		message = p.exchange(event, take)
	}
	add := func(join, words string) {
		if words != "" {
			message += join + words
		}
	}
	if code := take("refused"); code != "" {
		add(" ", p.Paint(Red, code))
		add(": ", take("reason"))
	}
	add(": ", take("error"))
	add("; ", take("remedy"))
	event[zerolog.MessageFieldName] = message
}

// exchange returns the line of an exchange: method, target, status, time, credential and
// session label, and what went wrong.
func (p Palette) exchange(event map[string]any, take func(string) string) string {
	took := durationOf(event["duration"])
	delete(event, "duration")
	delete(event, "received") // for programs
	delete(event, "sent")
	kind := take("kind")
	line := p.Paint(Bold, take("method"))
	add := func(style, word string) {
		if word != "" {
			line += " " + p.Paint(style, word)
		}
	}
	add("", Target(kind, take("host"), take("path")))
	status := take("status")
	add(StatusStyle(status), statusWord(status))
	add("", Duration(took))
	add("", Credential(signer.Scheme(take("signed"))))
	if kind != "request" {
		add("", kind)
	}
	add(Faint, take("client"))
	if take("retried") != "" {
		add("", "(sent again after a 401)")
	}
	add(Red, Cut(take("failure"), take("cut_by")))
	if reason := take("out_of_scope"); reason != "" && event["refused"] == nil {
		add(Yellow, "out of scope: "+reason)
	}
	return line
}

// durationOf returns the duration that a field has, which is in milliseconds.
func durationOf(field any) time.Duration {
	number, _ := field.(json.Number)
	milliseconds, _ := number.Float64()
	return time.Duration(milliseconds * float64(time.Millisecond))
}

func statusWord(status string) string {
	if status == "0" {
		return "-"
	}
	return status
}
