package codes

import (
	"strings"
	"testing"
)

// TestCodes compares what is shown with the document, word by word. TestEveryCodeIsExplained
// compares the document with what the program answers.
func TestCodes(t *testing.T) {
	t.Parallel()
	all := All()
	if len(all) < 50 {
		t.Errorf("only %d codes", len(all))
	}
	for _, c := range all {
		if c.Text == "" || c.Section == "" || c.Statuses == "" {
			t.Errorf("%+v", c)
		}
		for _, columns := range []int{20, 80, 1000} {
			plain := c.Plain(columns)
			for line := range strings.Lines(plain) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%s: a line of %d columns: %q", c.Name, n, line)
				}
			}
			want := strings.Fields(link.ReplaceAllString(c.Text, "LINK"))
			got := strings.Fields(plain)
			for _, word := range want {
				if !strings.Contains(word, "LINK") && !contains(got, word) {
					t.Errorf("%s: %q is left out", c.Name, word)
				}
			}
			if strings.Contains(plain, "](") {
				t.Errorf("%s: %s", c.Name, plain)
			}
		}
		for _, above := range []string{"As above", "as above", " below"} {
			if strings.Contains(c.Text, above) {
				t.Errorf("%s says %q, and is read by itself", c.Name, above)
			}
		}
	}
	for _, name := range []string{"out_of_scope", "OUT_OF_SCOPE", "out-of-scope", " out_of_scope\n"} {
		if c, ok := Find(name); !ok || c.Name != "out_of_scope" || c.Statuses != "403" {
			t.Errorf("%q: %+v", name, c)
		}
	}
	if _, ok := Find("nothing"); ok {
		t.Error("nothing is a code")
	}
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

func TestPlain(t *testing.T) {
	t.Parallel()
	c := Code{Text: "Do *this*,\nsee [scope.md](scope.md) or [the gateway](gateway.md#x).\n\nThen:\n\n- one two\n  three\n- four [a](https://b.example)"}
	const want = "Do *this*, see\ndocs/scope.md or the\ngateway\n(docs/gateway.md#x).\n\nThen:\n- one two three\n- four a\n  (https://b.example)\n"
	if got := c.Plain(20); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
