//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The lines of a page between which the figures stand.
const (
	figuresBegin = "<!-- figures: go run ./integration/bench -page docs/performance.md -->\n"
	figuresEnd   = "<!-- end of figures -->\n"
)

// writePage puts the report in place of the figures of a page in Markdown, and the charts
// beside it.
func (r *report) writePage(path string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begun := bytes.Cut(page, []byte(figuresBegin))
	_, after, ended := bytes.Cut(rest, []byte(figuresEnd))
	if !begun || !ended {
		return fmt.Errorf("%s: no place for the figures, which is between the lines %q and %q", path, figuresBegin, figuresEnd)
	}
	var b bytes.Buffer
	r.writeHead(&b)
	r.writeSummary(&b)
	writeReach(&b, r.reach())
	// They have a heading of their own on the page.
	figures := bytes.ReplaceAll(b.Bytes(), []byte("\n### "), []byte("\n#### "))
	if err := r.writeCharts(filepath.Dir(path)); err != nil {
		return err
	}
	return os.WriteFile(path, slices.Concat(before, []byte(figuresBegin+"\n"), figures, []byte("\n"+figuresEnd), after), 0o644)
}

// checkPage refuses to put a part of the figures in place of all.
func checkPage(page, only, programs string) error {
	if page != "" && only+programs != "" {
		return errors.New("-page is for all scenarios and programs: leave out -only and -programs")
	}
	return nil
}
