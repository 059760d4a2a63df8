package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// privateHome makes a CODEX_HOME in dir that is the user's own, entry by entry,
// but for auth.json and copies of it: that is a placeholder, which has Codex start
// and holds nothing worth stealing.
func privateHome(ctx context.Context, a *app, dir string) (string, error) {
	home := filepath.Join(dir, "codex-home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", fmt.Errorf("make the private CODEX_HOME: %w", err)
	}
	users, err := filepath.Abs(a.config.Identity.CodexHome)
	if err != nil {
		return "", fmt.Errorf("identity.codex_home: %w", err)
	}
	entries, err := os.ReadDir(users)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the Codex home: %w", err)
	}
	for _, entry := range entries {
		if strings.Contains(strings.ToLower(entry.Name()), "auth.json") {
			continue // a copy of it is one, too
		}
		if err := os.Symlink(filepath.Join(users, entry.Name()), filepath.Join(home, entry.Name())); err != nil {
			return "", fmt.Errorf("link the Codex home: %w", err)
		}
	}
	placeholder, err := a.placeholder(ctx)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(home, "auth.json"), placeholder, 0o600); err != nil {
		return "", fmt.Errorf("write the placeholder auth.json: %w", err)
	}
	return home, nil
}

// withoutVariables returns environ without those of some names.
func withoutVariables(environ, names []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}

// setVariable returns environ with name set to value.
func setVariable(environ []string, name, value string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, entry := range environ {
		if !strings.HasPrefix(entry, name+"=") {
			kept = append(kept, entry)
		}
	}
	return append(kept, name+"="+value)
}
