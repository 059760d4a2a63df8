package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestAppendPrintable has a program read the same, and a terminal nothing that it obeys.
func TestAppendPrintable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "größer", "a\x1b[2J\x07\x7f\u009b2J\u0085", "\u202eb\u2066\u200b\u2028\ufeff", "\U000e0041c", "日本", "\\ \" <b>",
	} {
		raw, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		got := AppendPrintable([]byte("before "), raw)
		printed, ok := strings.CutPrefix(string(got), "before ")
		if !ok || strings.ContainsFunc(printed, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", got)
		}
		var back struct{ Text string }
		if err := json.Unmarshal([]byte(printed), &back); err != nil || back.Text != text {
			t.Errorf("%s: %q, %v", printed, back.Text, err)
		}
	}
	if got := string(AppendPrintable(nil, []byte("\"a\xff\""))); got != "\"a\ufffd\"" {
		t.Errorf("%q", got)
	}
}
