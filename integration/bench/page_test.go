//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWritePage(t *testing.T) {
	r := reportOf(map[string]map[string]float64{"h1-16/agentproxy": {keyRate: 1234}})
	path := filepath.Join(t.TempDir(), "page.md")
	for range 2 { // what was written is replaced
		if err := os.WriteFile(path, []byte("before\n"+figuresBegin+"old\n"+figuresEnd+"after\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.writePage(path); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := string(raw)
		if !strings.HasPrefix(page, "before\n"+figuresBegin) || !strings.HasSuffix(page, figuresEnd+"after\n") ||
			strings.Contains(page, "old") || !strings.Contains(page, "1,234") || strings.Contains(page, "\n### ") {
			t.Errorf("%s", page)
		}
	}
	if err := os.WriteFile(path, []byte("a page"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.writePage(path); err == nil || !strings.Contains(err.Error(), "no place for the figures") {
		t.Errorf("a page without a place: %v", err)
	}
}

// TestPage: docs/performance.md has the place.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), figuresBegin) || !strings.Contains(string(page), figuresEnd) {
		t.Error("docs/performance.md has no place for the figures")
	}
	if checkPage("page", "h1-16", "") == nil || checkPage("page", "", nginx) == nil || checkPage("page", "", "") != nil {
		t.Error("a part of the figures would take the place of all")
	}
}
