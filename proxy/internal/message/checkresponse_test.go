package message

import (
	"errors"
	"testing"
)

func TestUnquoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`malformed HTTP response "Bearer x"`:         "malformed HTTP response",
		"the upstream proxy refused with \"403 No\"": "the upstream proxy refused with \"403 No\"",
		"malformed MIME header line: Bearer x":       "malformed MIME",
		"read tcp 192.0.2.1:1: unexpected thing":     "read tcp 192.0.2.1:1: unexpected thing",
	} {
		if got := Unquoted(errors.New(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
