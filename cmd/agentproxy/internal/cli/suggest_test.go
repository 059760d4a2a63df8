package cli

import "testing"

func TestClosest(t *testing.T) {
	t.Parallel()
	words := []string{"serve", "run", "check", "config", "completion", "env"}
	for typed, want := range map[string]string{
		"serv": "serve", "srvee": "serve", "sevre": "serve", "rnu": "run", "ru": "run", "chekc": "check", "confg": "config", "compltion": "completion",
		"evn": "env", "x": "", "": "", "start": "", "help": "", "xyzzy": "", "ünv": "env",
	} {
		if got := Closest(typed, words); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}
