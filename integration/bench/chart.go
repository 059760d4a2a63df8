//go:build linux

package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
)

// chart is a picture of one figure in several scenarios. It has a bar for each program.
type chart struct {
	file, title string
	key         string
	scale       float64 // what a figure is multiplied by
	added       bool    // the figure is what a program adds to that without a proxy
	scenarios   []struct{ id, name string }
}

type named = struct{ id, name string }

var charts = []chart{
	{file: "performance-turn.svg", title: "CPU time of a turn, in ms, 60 agents", key: keyTurnCPU, scale: 1, scenarios: []named{
		{idTurnWS, "WebSocket"}, {idTurnH1, "events, HTTP/1.1"}, {idTurnH2, "events, HTTP/2"},
	}},
	{file: "performance-delay.svg", title: "Added to an event, 99 of 100, in ms, 60 agents", key: keyP99, scale: 1e-3, added: true, scenarios: []named{
		{idTurnWS, "WebSocket"}, {idTurnH1, "events, HTTP/1.1"}, {idTurnH2, "events, HTTP/2"},
	}},
	{file: "performance-request.svg", title: "CPU time of a short request, in µs", key: keyCPU, scale: 1, scenarios: []named{
		{idH1, "HTTP/1.1"}, {idH2, "HTTP/2"},
	}},
}

// colors are those of the programs, the same on light and on dark ground.
var colors = map[string]string{agentproxy: "#2f81f7", nginx: "#8b949e", squid: "#c69026", goproxy: "#986ee2", mitmproxy: "#e5534b", before: "#7ee2b8"}

// writeCharts draws the charts of which r has figures into files in dir.
func (r *report) writeCharts(dir string) error {
	for _, c := range charts {
		if svg := c.draw(r); svg != nil {
			if err := os.WriteFile(filepath.Join(dir, c.file), svg, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// bar is a program's figure. A group has a name instead.
type bar struct {
	group, program string
	value          float64
}

func (c *chart) bars(r *report) (bars []bar, most float64) {
	for _, s := range c.scenarios {
		t := r.table(s.id)
		if t == nil {
			continue
		}
		bars = append(bars, bar{group: s.name})
		for _, row := range t.rows {
			value, ok := row.figure(c.key)
			if !ok || row.program == direct {
				continue
			}
			if c.added {
				without, _ := t.row(direct).figure(c.key)
				value = max(0, value-without)
			}
			bars = append(bars, bar{program: row.program, value: value * c.scale})
			most = max(most, value*c.scale)
		}
	}
	return bars, most
}

// The sizes of a chart, in pixels.
const (
	chartWidth, chartLeft, chartLine = 720, 110, 22
	chartBars                        = chartWidth - chartLeft - 80
)

// draw returns the chart as SVG, nil without figures.
func (c *chart) draw(r *report) []byte {
	bars, most := c.bars(r)
	if most == 0 {
		return nil
	}
	var b bytes.Buffer
	height := chartLine*(len(bars)+2) + 8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img">
<title>%[3]s</title>
<style>text { font: 13px sans-serif; fill: #57606a } .name { font-weight: bold } @media (prefers-color-scheme: dark) { text { fill: #adbac7 } }</style>
<text class="name" x="8" y="20">%[3]s</text>
`, chartWidth, height, html.EscapeString(c.title))
	for i, one := range bars {
		y := chartLine * (i + 2)
		if one.group != "" {
			fmt.Fprintf(&b, "<text class=\"name\" x=\"8\" y=\"%d\">%s</text>\n", y+14, html.EscapeString(one.group))
			continue
		}
		width := max(1, chartBars*one.value/most)
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><rect x=\"%d\" y=\"%d\" width=\"%.0f\" height=\"%d\" fill=\"%s\"/><text x=\"%.0f\" y=\"%d\">%s</text>\n",
			chartLeft-8, y+14, one.program, chartLeft, y+2, width, chartLine-6, colors[one.program], chartLeft+width+6, y+14, formatFigure(one.value))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
