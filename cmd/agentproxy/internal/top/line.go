package top

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
)

// span is a text in one style.
type span struct{ style, text string }

// line is a line of the view. It holds nothing that is not printable.
type line []span

// words returns a line of one text.
func words(style, text string) line { return line{{style, cli.Printable(text)}} }

// width returns the columns that a line takes.
func (l line) width() (n int) {
	for _, s := range l {
		for _, r := range s.text {
			n += columns(r)
		}
	}
	return n
}

// columns returns how many columns of a terminal a rune takes (Unicode Standard Annex 11).
func columns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut returns what columns from to to show of a line. A rune that is there in part is left
// out.
func (l line) cut(from, to int) (part line) {
	at := 0
	for _, s := range l {
		var kept strings.Builder
		for _, r := range s.text {
			n := columns(r)
			if at >= from && at+n <= to {
				kept.WriteRune(r)
			}
			at += n
		}
		if kept.Len() > 0 {
			part = append(part, span{s.style, kept.String()})
		}
	}
	return part
}

// paint returns a line as a terminal is sent it.
func (l line) paint(p logline.Palette) string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(p.Paint(s.style, s.text))
	}
	return strings.TrimRight(b.String(), " ")
}

// table lays out rows, the first of which is the heading. Columns are two spaces apart.
func table(rows ...[]span) (lines []line) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], line{cell}.width())
		}
	}
	for n, row := range rows {
		var l line
		for i, cell := range row {
			if n == 0 {
				cell.style = logline.Faint
			}
			l = append(l, cell)
			if i < len(row)-1 {
				l = append(l, span{"", strings.Repeat(" ", widths[i]-line{cell}.width()+2)})
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// row returns a row of a table, of texts and of spans.
func row(cells ...any) (spans []span) {
	for _, cell := range cells {
		switch cell := cell.(type) {
		case span:
			spans = append(spans, span{cell.style, cli.Printable(cell.text)})
		case string:
			spans = append(spans, span{"", cli.Printable(cell)})
		}
	}
	return slices.Clip(spans)
}
