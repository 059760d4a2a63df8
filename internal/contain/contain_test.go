package contain

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestCall has work succeed, fail and panic. No error has words of a panic that the program
// itself has chosen.
func TestCall(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var empty []int
	for name, test := range map[string]struct {
		work func() (int, error)
		want string // in the error of a panic
	}{
		"succeeds":              {work: func() (int, error) { return 5, nil }},
		"fails":                 {work: func() (int, error) { return 5, broken }},
		"panics":                {func() (int, error) { panic("sekret") }, "a panic with a string"},
		"panics with an error":  {func() (int, error) { panic(errors.New("sekret")) }, "a panic with a *errors.errorString"},
		"panics by the runtime": {func() (int, error) { return empty[3], nil }, "index out of range [3]"},
	} {
		var told *PanicError
		v, err := Call(func(e *PanicError) { told = e }, test.work)
		if test.want == "" {
			if v != 5 || err != nil && err != broken || told != nil {
				t.Errorf("%s: %d, %v, %v", name, v, err, told)
			}
			continue
		}
		if got, ok := errors.AsType[*PanicError](err); !ok || got != told || v != 0 {
			t.Errorf("%s: %d, %v, %v", name, v, err, told)
			continue
		}
		if text := err.Error(); !strings.Contains(text, test.want) || strings.Contains(text+told.Stack(), "sekret") || !strings.Contains(told.Stack(), "contain_test.go") {
			t.Errorf("%s: %s\n%s", name, text, told.Stack())
		}
		again := 0
		Tell(func(*PanicError) { again++ }, err)
		_, err = Call(nil, test.work)
		if Tell(func(*PanicError) { again += 2 }, fmt.Errorf("wrapped: %w", err)); err == nil || again != 2 {
			t.Errorf("%s: nil tell: %v, %d", name, err, again)
		}
		told = nil
		if Do(func(e *PanicError) { told = e }, func() { _, _ = test.work() }); told == nil || !strings.Contains(told.Error(), test.want) {
			t.Errorf("%s: Do told %v", name, told)
		}
	}
}
