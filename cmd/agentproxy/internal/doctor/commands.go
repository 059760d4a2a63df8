package doctor

import (
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

// plain matches a word that no shell takes for something else.
var plain = regexp.MustCompile(`^[a-zA-Z0-9@%+=:,./_-][a-zA-Z0-9@%+=:,./_~-]*$`)

// quote returns a word as a shell takes it.
func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// own returns the command line of agentproxy with the configuration that is checked. Words
// after "--" are another program's.
func (k *checker) own(words ...string) string {
	return k.ownFor("", words...)
}

// ownAs is own for a command that acts as the profile that is checked.
func (k *checker) ownAs(words ...string) string { return k.ownFor(k.options.Profile, words...) }

func (k *checker) ownFor(profile string, words ...string) string {
	var flags []string
	if name := k.options.ConfigName; name != "" {
		flags = append(flags, "--config", name)
	}
	if profile != "" {
		flags = append(flags, "--profile", profile)
	}
	end := slices.Index(words, "--")
	if end < 0 {
		end = len(words)
	}
	line := slices.Concat([]string{"agentproxy"}, words[:end], flags, words[end:])
	for i, word := range line {
		line[i] = quote(word)
	}
	return strings.Join(line, " ")
}

// edit returns the command that opens the configuration, or the default one where there is
// none.
func (k *checker) edit() string {
	if k.options.Path != "" {
		return editor(k.options.Path)
	}
	path := config.DefaultPath(k.env)
	if path == "" {
		return editor("agentproxy.yaml")
	}
	return "mkdir -p " + quote(filepath.Dir(path)) + " && " + editor(path)
}

// editor returns the command that opens a file.
func editor(path string) string {
	if runtime.GOOS == "windows" {
		return "notepad " + quote(path)
	}
	return `"${EDITOR:-vi}" ` + quote(path)
}

// set returns the remedy that is a key of the configuration.
func (k *checker) set(words string) remedy { return remedy{words, k.edit()} }

// whoListens returns the command that says which program listens at a port.
func whoListens(port string) string {
	switch runtime.GOOS {
	case "linux":
		return "sudo ss -ltnp " + quote("sport = :"+port)
	case "windows":
		return "netstat -abno"
	}
	return "sudo lsof -nP -iTCP:" + port + " -sTCP:LISTEN"
}

// setClock returns the command that sets this machine's clock.
func setClock() string {
	switch runtime.GOOS {
	case "linux":
		return "sudo timedatectl set-ntp true"
	case "windows":
		return "w32tm /resync"
	}
	return "sudo sntp -sS time.apple.com"
}

// logIn returns the command that logs in anew.
func (k *checker) logIn() string {
	if k.app.Default.Account.UsesOwnLogin() {
		return k.ownAs("login")
	}
	return "codex login"
}

// try returns the command that has a request signed as a client's is: what is missing or
// spent is then registered and refreshed.
func (k *checker) try() remedy {
	url := k.baseURL().JoinPath("codex", "models").String() + "?client_version=0.0.0"
	return remedy{"to have the proxy do it now", k.ownAs("run", "--", "curl", "-sS", "-o", "/dev/null", "-w", `%{http_code}\n`, url)}
}
