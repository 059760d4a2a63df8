package launch

import (
	"slices"
	"strings"
	"testing"
)

const someMounts = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 254:0 /home/u /mnt/with\040space rw - ext4 /dev/vda rw
31 27 8:1 / /home rw shared:1 master:2 - ext4 /dev/sda1 rw
32 27 8:1 /u/.codex /srv/codex rw - ext4 /dev/sda1 rw
33 27 8:1 /u/.codex/auth.json /srv/one\134file rw - ext4 /dev/sda1 rw
34 27 8:1 /u2 /srv/another rw - ext4 /dev/sda1 rw
short line
`

func TestParseMounts(t *testing.T) {
	all := parseMounts(someMounts)
	want := []mount{
		{"0:21", "/", "/proc"},
		{"254:0", "/", "/"},
		{"254:0", "/home/u", "/mnt/with space"},
		{"8:1", "/", "/home"},
		{"8:1", "/u/.codex", "/srv/codex"},
		{"8:1", "/u/.codex/auth.json", `/srv/one\file`},
		{"8:1", "/u2", "/srv/another"},
	}
	if !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
}

func TestAliases(t *testing.T) {
	all := parseMounts(someMounts)
	for path, want := range map[string][]string{
		"/home/u/.codex/auth.json": {"/home/u/.codex/auth.json", "/srv/codex/auth.json", `/srv/one\file`},
		"/srv/codex/auth.json":     {"/srv/codex/auth.json", "/home/u/.codex/auth.json", `/srv/one\file`},
		"/srv/another/file":        {"/srv/another/file", "/home/u2/file"},
		"/home/u/.codex":           {"/home/u/.codex", "/srv/codex"},
		"/etc/passwd":              {"/etc/passwd"},
		// What /home was before something was mounted there.
		"/mnt/with space/file": {"/mnt/with space/file", "/home/u/file"},
		"/proc/1":              {"/proc/1"},
	} {
		if got := aliases(path, all); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestAliasesOfStackedMounts(t *testing.T) {
	// The last of those mounted on one another is the one that is seen.
	all := parseMounts("1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /home rw - ext4 b rw\n3 2 8:3 / /home rw - ext4 c rw\n4 1 8:3 /u /x rw - ext4 c rw\n5 1 8:2 /u /y rw - ext4 b rw\n")
	if got, want := aliases("/home/u/f", all), []string{"/home/u/f", "/x/f"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUnescapeMount(t *testing.T) {
	for escaped, want := range map[string]string{
		"": "", "/plain": "/plain", `/a\040b`: "/a b", `\011\012\134`: "\t\n\\", `/a\04`: `/a\04`, `/a\`: `/a\`,
		`/a\999`: `/a\999`, `/a\777`: `/a\777`, `\134040`: `\040`,
	} {
		if got := unescapeMount(escaped); got != want {
			t.Errorf("%q: %q, want %q", escaped, got, want)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(someMounts, "/home/u/.codex/auth.json")
	f.Add("1 0 8:1 / / rw\n", "/")
	f.Add("1 0 8:1 \\057\\056. \\134 rw\n1 0 8:1 / / rw", "/a")
	f.Fuzz(func(t *testing.T, info, path string) {
		all := parseMounts(info)
		if len(all) > strings.Count(info, "\n")+1 {
			t.Errorf("%d mounts of %q", len(all), info)
		}
		if found := aliases(path, all); found[0] != path {
			t.Errorf("%q is not among its own names, %q", path, found)
		}
	})
}
