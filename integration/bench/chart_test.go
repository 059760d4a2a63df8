//go:build linux

package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCharts draws what was measured, as XML, and nothing of what was not.
func TestCharts(t *testing.T) {
	r := reportOf(map[string]map[string]float64{
		idTurnWS + "/direct":     {keyP99: 1000},
		idTurnWS + "/nginx":      {keyTurnCPU: 10, keyP99: 3000},
		idTurnWS + "/agentproxy": {keyTurnCPU: 11, keyP99: 2500},
	})
	dir := t.TempDir()
	if err := r.writeCharts(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"performance-turn.svg":  {">nginx<", ">10.0<", ">11.0<", `width="482"`, `width="530"`},
		"performance-delay.svg": {">agentproxy<", ">2.00<", ">1.50<"},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
			continue
		}
		if err := xml.Unmarshal(raw, new(struct{})); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, word := range append(want, ">WebSocket<") {
			if !strings.Contains(string(raw), word) {
				t.Errorf("%s: no %s in %s", file, word, raw)
			}
		}
		if strings.Contains(string(raw), "direct") || strings.Contains(string(raw), "HTTP/2") {
			t.Errorf("%s has what was not measured: %s", file, raw)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "performance-request.svg")); err == nil {
		t.Error("a chart without figures")
	}
}
