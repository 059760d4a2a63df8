package app

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

func TestDeferredLog(t *testing.T) {
	t.Parallel()
	const moved, failed = `{"message":"moved aside"}` + "\n", `{"error":"no \"log-in\"","message":"not registered"}` + "\n"
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, moved + failed},
		{errors.New("something else"), moved + failed},
		{errors.New(`sign: no "log-in"; run codex login`), moved},
	} {
		var out strings.Builder
		n := DeferredLog{out: &out}
		for _, event := range []string{moved, failed} {
			if _, err := n.Write([]byte(event)); err != nil {
				t.Fatal(err)
			}
		}
		n.Flush(test.err)
		n.Flush(test.err) // there is nothing more to say
		if out.String() != test.want {
			t.Errorf("%v: %q, want %q", test.err, out.String(), test.want)
		}
	}
}

// TestLogIsPrintable logs what controls a terminal, turns text around or hides in it.
func TestLogIsPrintable(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\x07\x7f\u009b2J\u0085\u202eb\u2066\u200b\u2028\ufeff\U000e0041c\xff"
	for _, format := range []string{"json", "console"} {
		var out strings.Builder
		log := NewLogger(config.Log{Level: "info", Format: format}, &out)
		log.Warn().Str("field", evil).AnErr("error", errors.New(evil)).Strs("list", []string{evil}).Msg(evil)
		line, ok := strings.CutSuffix(out.String(), "\n")
		if !ok || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", format, out.String())
		}
		if format != "json" {
			continue
		}
		var event struct{ Field string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Field != strings.ToValidUTF8(evil, "\ufffd") {
			t.Errorf("%q: %+q, %v", line, event.Field, err)
		}
	}
}
