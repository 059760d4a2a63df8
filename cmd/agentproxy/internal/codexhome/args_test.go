package codexhome

import (
	"slices"
	"strings"
	"testing"
)

func TestIsCodex(t *testing.T) {
	for program, want := range map[string]bool{
		"codex": true, "/usr/bin/codex": true, "codex.exe": true, "./codex-x86_64-unknown-linux-musl": true,
		"codex-mcp-server": false, "sh": false, "mycodex": false, "": false,
	} {
		if got := IsCodex(program); got != want {
			t.Errorf("IsCodex(%q) = %t", program, got)
		}
	}
}

func TestCodexArgs(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"codex", "codex S"},
		{"codex prompt", "codex S prompt"},
		{"codex -c a=1", "codex S -c a=1"},
		{"codex exec hi", "codex S exec hi"},
		{"codex -m x exec -c a=1 hi", "codex S -m x exec S -c a=1 hi"},
		{"codex exec -c a=1 resume --config b=2 --last", "codex S exec S -c a=1 resume S --config b=2 --last"},
		{"codex exec --config=a=1 -cb=1", "codex S exec S --config=a=1 S -cb=1"},
		{"codex exec -c", "codex S exec S -c"},
		{"codex exec -- -c", "codex S exec -- -c"},
		{"codex -C sandbox exec -c a=1", "codex S -C sandbox exec S -c a=1"},
		{"codex sandbox linux sh -c true", "codex S sandbox linux sh -c true"},
		{"codex mcp add x -- sh -c true", "codex S mcp add x -- sh -c true"},
	} {
		settings := strings.Join(codexSettings, " ")
		want := strings.ReplaceAll(test.want, "S", settings)
		if got := strings.Join(Args(strings.Fields(test.args)), " "); got != want {
			t.Errorf("CodexArgs(%s)\n= %s,\nwant %s", test.args, got, want)
		}
	}
}

func TestChangesLogin(t *testing.T) {
	for args, want := range map[string]bool{
		"codex": false, "codex login": true, "codex logout": true, "codex login status": false, "codex login --help": false, "codex login help": false,
		"codex -c a=1 login": true, "codex --config a=1 --device-auth login": true, "codex login --with-api-key": true, "codex login --device-auth": true,
		"codex login -c a=1 status": false, "codex exec login": false, "codex -m login exec": false, "codex -C logout": false, "codex -p x logout": true,
		"codex -c": false, "codex -- login": true, "codex LOGIN": false,
	} {
		if got := ChangesLogin(strings.Fields(args)); got != want {
			t.Errorf("ChangesLogin(%s) = %t", args, got)
		}
	}
}

// FuzzCodexArgs checks that nothing of the arguments is lost or put elsewhere.
func FuzzCodexArgs(f *testing.F) {
	f.Add("codex exec -c a=1 hi")
	f.Add("codex -c")
	f.Add("codex exec -- -c")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		ChangesLogin(args)
		got := Args(args)
		if !slices.Equal(got[1:1+len(codexSettings)], codexSettings) {
			t.Errorf("%q does not begin with the settings", got)
		}
		if slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(codexSettings[1:], arg) }) {
			return // they could be either
		}
		rest := slices.DeleteFunc(slices.Clone(got), func(arg string) bool { return slices.Contains(codexSettings, arg) })
		want := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return slices.Contains(codexSettings, arg) })
		if !slices.Equal(rest, want) {
			t.Errorf("%q became %q", args, got)
		}
	})
}
