package usage

import (
	"bytes"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// SSE reads along a stream of server-sent events (HTML Standard, section 9.2.6),
// whatever its Content-Type. It must be made by [NewSSE].
type SSE struct {
	report   func(Tokens)
	panicked func(*contain.PanicError)
	broken   error // a panic, after which nothing is read
	event    event

	line   line
	lf     bool // a line has ended with CR: a LF that follows is none
	name   [maxText]byte
	n      int
	data   bool // the event has a line of data
	unread bool // the event is none that matters
	bom    int  // bytes of a byte order mark that were seen, -1: there can be none any more
}

// line says which line of an event comes.
type line uint8

const (
	lineField line = iota // its name
	lineSpace             // the space that may follow the colon of data
	lineData
	lineEventSpace // and of event
	lineEvent
	lineOther
)

// NewSSE returns a reader that calls report for each response that says what it
// used, and panicked if it panics, which ends the reading alone.
func NewSSE(report func(Tokens), panicked func(*contain.PanicError)) *SSE {
	return &SSE{report: report, panicked: panicked}
}

// Tap reads on. It does not keep p.
func (s *SSE) Tap(p []byte) {
	if s.broken == nil {
		defer contain.Recover(s.panicked, &s.broken)
		s.readOn(p)
	}
}

func (s *SSE) readOn(p []byte) {
	p = s.skipMark(p)
	for len(p) > 0 {
		if s.lf && p[0] == '\n' {
			p = p[1:]
		}
		s.lf = false
		text, ended := p, false
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text, ended = text[:i], true
		}
		if i := bytes.IndexByte(text, '\r'); i >= 0 {
			text, ended, s.lf = text[:i], true, true
		}
		s.read(text)
		if !ended {
			return
		}
		s.endLine()
		p = p[len(text)+1:]
	}
}

// Close ends the reading.
func (s *SSE) Close() {}

// skipMark skips a byte order mark at the beginning.
func (s *SSE) skipMark(p []byte) []byte {
	const mark = "\xef\xbb\xbf"
	for s.bom >= 0 && len(p) > 0 {
		if p[0] != mark[s.bom] {
			s.bom = -1
			return p
		}
		p = p[1:]
		if s.bom++; s.bom == len(mark) {
			s.bom = -1
		}
	}
	return p
}

// read reads a part of a line.
func (s *SSE) read(p []byte) {
	for len(p) > 0 {
		switch s.line {
		case lineField:
			c := p[0]
			p = p[1:]
			if c != ':' {
				s.put(c)
				continue
			}
			switch string(s.name[:s.n]) {
			case "data":
				s.line = lineSpace
				if s.data {
					s.event.write([]byte{'\n'})
				}
				s.data = true
			case "event":
				s.line, s.n = lineEventSpace, 0
			default:
				s.line = lineOther
			}
		case lineSpace, lineEventSpace:
			s.line++
			if p[0] == ' ' {
				p = p[1:]
			}
		case lineData:
			if !s.unread {
				s.event.write(p)
			}
			return
		case lineEvent:
			for _, c := range p {
				s.put(c)
			}
			return
		default:
			return
		}
	}
}

// put adds to a field's name or an event's. One that is too long is none of those
// that matter.
func (s *SSE) put(c byte) {
	if s.n < len(s.name) {
		s.name[s.n] = c
		s.n++
	}
}

// endLine ends a line, and an event if it was empty.
func (s *SSE) endLine() {
	switch {
	case s.line == lineField && s.n == 0:
		if used, ok := s.event.end(); ok && !s.unread {
			s.report(used)
		}
		s.data, s.unread = false, false
	case s.line == lineEvent || s.line == lineEventSpace:
		s.unread = s.n > 0 && kindOf(s.name[:s.n]) == other
	}
	s.line, s.n = lineField, 0
}
