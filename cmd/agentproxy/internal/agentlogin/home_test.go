package agentlogin

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// use returns the use of an agent in a home, with further variables.
func use(t *testing.T, name, home string, wanted bool, vars map[string]string) Use {
	t.Helper()
	agent, ok := Find(name)
	if !ok {
		t.Fatalf("there is no agent %s", name)
	}
	return Use{Agent: agent, Account: account, Now: now, Wanted: wanted, Getenv: func(v string) string {
		if v == "HOME" {
			return home
		}
		return vars[v]
	}}
}

// write writes a file and the directories above it.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	const login = `{"openai-codex":{"type":"oauth","access":"secret","refresh":"secret"}}`
	for name, test := range map[string]struct {
		file   string // "-" for none, "" for no directory either
		wanted bool
		shown  bool
		left   string
	}{
		"never used":        {},
		"to be used":        {wanted: true, shown: true, left: "{}"},
		"without a file":    {file: "-", shown: true, left: "{}"},
		"with a log-in":     {file: login, shown: true, left: login},
		"not to understand": {file: `{"openai-codex":{"access":"secret"`, shown: true, left: `{"openai-codex":{"access":"secret"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			auth := filepath.Join(home, ".pi", "agent", "auth.json")
			switch test.file {
			case "":
			case "-":
				if err := os.MkdirAll(filepath.Dir(auth), 0o700); err != nil {
					t.Fatal(err)
				}
			default:
				write(t, auth, test.file)
			}
			path, content, err := use(t, "pi", home, test.wanted, nil).Shown()
			if err != nil || (path != "") != test.shown {
				t.Fatalf("%s, %v", path, err)
			}
			if left, _ := os.ReadFile(auth); string(left) != test.left {
				t.Errorf("the file is %q", left)
			}
			if test.shown && (path != auth || strings.Contains(string(content), "secret") || !strings.Contains(string(content), "agentproxy-placeholder")) {
				t.Errorf("%s shows %s", path, content)
			}
		})
	}
	home := t.TempDir()
	write(t, filepath.Join(home, ".local/share/opencode/auth.json"), `{"openai":{"type":"api","key":"k"}}`)
	if path, _, err := use(t, "opencode", home, true, nil).Shown(); path != "" || err != nil {
		t.Errorf("a key: %s, %v", path, err)
	}
	if path, _, err := use(t, "pi", "", true, nil).Shown(); path != "" || err != nil {
		t.Errorf("without a home: %s, %v", path, err)
	}
}

// TestEnviron gives pi a directory whose links lead to the user's, and opencode a variable.
func TestEnviron(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // which lets few users make links
	}
	home, dir := t.TempDir(), t.TempDir()
	agentDir := filepath.Join(home, ".pi", "agent")
	write(t, filepath.Join(agentDir, "auth.json"), `{"openai-codex":{"type":"oauth","access":"secret","refresh":"secret"}}`)
	write(t, filepath.Join(agentDir, "skills", "one.md"), "of the user")
	variables, err := use(t, "pi", home, false, nil).Environ(dir)
	if err != nil {
		t.Fatal(err)
	}
	private, ok := strings.CutPrefix(strings.Join(variables, " "), "PI_CODING_AGENT_DIR=")
	if !ok || !strings.HasPrefix(private, dir) {
		t.Fatalf("%v", variables)
	}
	auth, err := os.ReadFile(filepath.Join(private, "auth.json"))
	if err != nil || strings.Contains(string(auth), "secret") {
		t.Errorf("%s, %v", auth, err)
	}
	if skill, err := os.ReadFile(filepath.Join(private, "skills", "one.md")); err != nil || string(skill) != "of the user" {
		t.Errorf("%s, %v", skill, err)
	}
	for _, file := range []string{"settings.json", "sessions/new.jsonl"} {
		if err := os.WriteFile(filepath.Join(private, file), []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(agentDir, file)); err != nil || string(got) != "new" {
			t.Errorf("%s: %s, %v", file, got, err)
		}
	}

	write(t, filepath.Join(home, ".local/share/opencode/auth.json"), `{"openai":{"type":"oauth","access":"secret","refresh":"secret"}}`)
	for name, vars := range map[string]map[string]string{
		"file":     nil,
		"variable": {"OPENCODE_AUTH_CONTENT": `{"openai":{"type":"oauth","access":"secret","refresh":"secret"}}`},
		"broken":   {"OPENCODE_AUTH_CONTENT": `{"openai":{"access":"secret"`},
	} {
		u := use(t, "opencode", home, false, vars)
		variables, err := u.Environ(dir)
		if err != nil || len(variables) != 1 || !strings.HasPrefix(variables[0], "OPENCODE_AUTH_CONTENT={") || strings.Contains(variables[0], "secret") {
			t.Errorf("%s: %v, %v", name, variables, err)
		}
		if inherited, err := u.Inherited(); err != nil || (inherited != "") != (vars != nil) || strings.Contains(inherited, "secret") {
			t.Errorf("%s: inherits %s, %v", name, inherited, err)
		}
	}
}
