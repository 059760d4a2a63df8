package logline

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

// lineOf returns the line that is written of an event, without its time.
func lineOf(t *testing.T, colour bool, log func(zerolog.Logger)) string {
	t.Helper()
	var out strings.Builder
	log(zerolog.New(NewWriter(&out, colour)).With().Timestamp().Logger())
	line, ok := strings.CutSuffix(out.String(), "\n")
	if !ok || strings.Contains(line, "\n") {
		t.Fatalf("%q is no line", out.String())
	}
	clock, line, _ := strings.Cut(line, " ")
	if !colour {
		if _, err := time.Parse(time.TimeOnly, clock); err != nil {
			t.Errorf("%q begins with no time", out.String())
		}
	}
	return line
}

func TestLine(t *testing.T) {
	t.Parallel()
	exchange := func(event *zerolog.Event) *zerolog.Event {
		return event.Str("kind", "request").Str("client", "run").Str("host", "chatgpt.com:443").Str("method", "GET").
			Str("path", "/backend-api/codex/responses").Int64("received", 10).Int64("sent", 10)
	}
	for _, test := range []struct {
		want string
		log  func(zerolog.Logger)
	}{
		{"GET chatgpt.com/backend-api/codex/responses 101 8 ms assertion run", func(l zerolog.Logger) {
			exchange(l.Info()).Str("signed", "AgentAssertion").Int("status", 101).Dur("duration", 8*time.Millisecond).Msg("exchange")
		}},
		{"GET chatgpt.com/backend-api/codex/responses 401 3 min bearer run (sent again after a 401) profile=ci", func(l zerolog.Logger) {
			exchange(l.Info()).Str("profile", "ci").Str("signed", "Bearer").Bool("retried", true).Int("status", 401).Dur("duration", 3*time.Minute).Msg("exchange")
		}},
		{"GET chatgpt.com/backend-api/codex/responses - 0 ms run cut: the client is gone", func(l zerolog.Logger) {
			exchange(l.Info()).Int("status", 0).Dur("duration", 0).Str("failure", "the client is gone").Msg("exchange")
		}},
		{"GET chatgpt.com/backend-api/codex/responses 200 0 ms run cut by the server", func(l zerolog.Logger) {
			exchange(l.Info()).Int("status", 200).Dur("duration", 0).Str("failure", "cut").Str("cut_by", "server").Msg("exchange")
		}},
		{"GET chatgpt.com/backend-api/codex/responses 200 0 ms run cut: internal error", func(l zerolog.Logger) {
			exchange(l.Info()).Int("status", 200).Dur("duration", 0).Str("failure", "internal error").Str("cut_by", "unknown").Msg("exchange")
		}},
		{"WRN GET chatgpt.com/backend-api/codex/responses 403 0 ms run out_of_scope: not in scope; add it to scope.allow", func(l zerolog.Logger) {
			exchange(l.Warn()).Str("out_of_scope", "path").Int("status", 403).Dur("duration", 0).Str("refused", "out_of_scope").
				Str("reason", "not in scope; add it to scope.allow").Msg("exchange")
		}},
		{"WRN GET chatgpt.com/backend-api/codex/responses 200 0 ms run out of scope: path", func(l zerolog.Logger) {
			exchange(l.Warn()).Str("out_of_scope", "path").Int("status", 200).Dur("duration", 0).Msg("exchange")
		}},
		{"CONNECT github.com 200 2 h tunnel build-42", func(l zerolog.Logger) {
			l.Info().Str("kind", "tunnel").Str("client", "build-42").Str("host", "github.com:443").Str("method", "CONNECT").
				Int("status", 200).Int64("received", 0).Int64("sent", 0).Dur("duration", 150*time.Minute).Msg("exchange")
		}},
		{"GET http://mirror.example/x 200 1.2 s plain", func(l zerolog.Logger) {
			l.Info().Str("kind", "plain").Str("host", "mirror.example:80").Str("method", "GET").Str("path", "/x").
				Int("status", 200).Dur("duration", 1234*time.Millisecond).Msg("exchange")
		}},
		{"WRN CONNECT 407 0 ms tunnel bad_label: take another", func(l zerolog.Logger) {
			l.Warn().Str("kind", "tunnel").Str("method", "CONNECT").Int("status", 407).Dur("duration", 0).Str("refused", "bad_label").Str("reason", "take another").Msg("exchange")
		}},
		{`draining at_most="30 s"`, func(l zerolog.Logger) { l.Info().Dur("at_most", 30*time.Second).Msg("draining") }},
		{"WRN connection not_http: speak HTTP peer=127.0.0.1:1", func(l zerolog.Logger) {
			l.Warn().Str("refused", "not_http").Str("reason", "speak HTTP").Str("peer", "127.0.0.1:1").Msg("connection")
		}},
		{"WRN no agent identity was registered: no log-in; run codex login", func(l zerolog.Logger) {
			l.Warn().AnErr("error", errors.New("no log-in; run codex login")).Msg("no agent identity was registered")
		}},
		{"ERR it leads past the proxy; unset it file=a", func(l zerolog.Logger) {
			l.Error().Str("file", "a").Str("remedy", "unset it").Msg("it leads past the proxy")
		}},
		{"configuration reloaded changed=[\"a\"]", func(l zerolog.Logger) { l.Info().Strs("changed", []string{"a"}).Msg("configuration reloaded") }},
	} {
		if got := lineOf(t, false, test.log); got != test.want {
			t.Errorf("%s\nwant\n%s", got, test.want)
		}
	}
}

// TestColours paints words, and none that a client has chosen can paint.
func TestColours(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[31mred\u009b2J\u202e"
	log := func(l zerolog.Logger) {
		l.Warn().Str("kind", "request").Str("client", evil).Str("host", evil).Str("method", evil).Str("path", evil).Str("signed", evil).
			Int("status", 200).Dur("duration", 0).Str("refused", evil).Str("reason", evil).Str("failure", evil).Str("out_of_scope", evil).
			Str("other", evil).Strs("more", []string{evil}).AnErr("error", errors.New(evil)).Msg("exchange")
	}
	coloured := lineOf(t, true, log)
	for _, want := range []string{"\x1b[33mWRN\x1b[0m", "\x1b[32m200\x1b[0m", "\x1b[31m?[31mred"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in %q", want, coloured)
		}
	}
	for _, style := range []string{"0", Bold, Red, Green, Yellow, Faint, "36", "90"} { // zerolog's for names is 36
		coloured = strings.ReplaceAll(coloured, "\x1b["+style+"m", "")
	}
	for _, line := range []string{coloured, lineOf(t, false, log)} {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 8300 * time.Microsecond: "8 ms", 999 * time.Millisecond: "999 ms", 1234 * time.Millisecond: "1.2 s", 9990 * time.Millisecond: "9.9 s",
		12 * time.Second: "12 s", 119 * time.Second: "119 s", 3 * time.Minute: "3 min", 50 * time.Hour: "50 h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
