package app

import (
	"errors"
	"strings"
	"testing"
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
