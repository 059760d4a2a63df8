//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
)

// The form of bench.json.
type (
	jsonReport struct {
		Plan      string            `json:"plan"`
		Machine   machine           `json:"machine"`
		Versions  map[string]string `json:"versions"`
		Scenarios []jsonScenario    `json:"scenarios"`
		Reach     []reached         `json:"reach"`
	}
	jsonScenario struct {
		ID       string        `json:"id"`
		Title    string        `json:"title"`
		Programs []jsonProgram `json:"programs"`
	}
	jsonProgram struct {
		Name    string                `json:"name"`
		Missing string                `json:"missing,omitempty"`
		Failure string                `json:"failure,omitempty"`
		Figures map[string]jsonFigure `json:"figures,omitempty"`
	}
	jsonFigure struct {
		Median   float64   `json:"median"`
		Rounds   []float64 `json:"rounds"`
		ToNginx  *float64  `json:"to_nginx,omitempty"`
		ToDirect *float64  `json:"to_direct,omitempty"`
	}
)

// writeJSON writes the report for programs.
func (r *report) writeJSON(path string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r.json()); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func (r *report) json() jsonReport {
	j := jsonReport{Plan: r.plan, Machine: r.machine, Versions: make(map[string]string), Reach: r.reach()}
	for _, v := range r.versions {
		j.Versions[v.program] = v.called
	}
	for _, t := range r.tables {
		s := jsonScenario{ID: t.scenario.id, Title: t.scenario.title}
		for _, w := range t.rows {
			s.Programs = append(s.Programs, t.jsonProgram(w))
		}
		j.Scenarios = append(j.Scenarios, s)
	}
	return j
}

func (t *table) jsonProgram(w *row) jsonProgram {
	p := jsonProgram{Name: w.program, Missing: w.missing, Failure: w.failure, Figures: make(map[string]jsonFigure)}
	for key, rounds := range w.rounds {
		f := jsonFigure{Median: median(rounds), Rounds: rounds}
		if ratio, ok := t.ratio(w.program, nginx, key); ok {
			f.ToNginx = &ratio
		}
		if ratio, ok := t.ratio(w.program, direct, key); ok {
			f.ToDirect = &ratio
		}
		p.Figures[key] = f
	}
	return p
}
