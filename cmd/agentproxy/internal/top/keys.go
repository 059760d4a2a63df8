package top

import (
	"bytes"
	"io"
)

// key is the function of a key of the keyboard.
type key int

const (
	keyQuit key = iota + 1
	keySuspend
	keyPause
	keyUp
	keyDown
	keyLeft
	keyRight
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
)

// sequences are what a terminal sends for keys: xterm's, in normal and application mode,
// VT220's, and the letters of less(1).
var sequences = []struct {
	sent string
	key  key
}{
	{"\x1b[A", keyUp}, {"\x1bOA", keyUp}, {"\x1b[B", keyDown}, {"\x1bOB", keyDown},
	{"\x1b[C", keyRight}, {"\x1bOC", keyRight}, {"\x1b[D", keyLeft}, {"\x1bOD", keyLeft},
	{"\x1b[5~", keyPageUp}, {"\x1b[6~", keyPageDown},
	{"\x1b[H", keyHome}, {"\x1bOH", keyHome}, {"\x1b[1~", keyHome}, {"\x1b[7~", keyHome},
	{"\x1b[F", keyEnd}, {"\x1bOF", keyEnd}, {"\x1b[4~", keyEnd}, {"\x1b[8~", keyEnd},
	{"q", keyQuit}, {"Q", keyQuit}, {"\x03", keyQuit}, {"\x1a", keySuspend}, {"p", keyPause},
	{"k", keyUp}, {"j", keyDown}, {"h", keyLeft}, {"l", keyRight}, {"b", keyPageUp}, {" ", keyPageDown}, {"g", keyHome}, {"G", keyEnd},
}

// nextKey returns the first key in what a terminal has sent, and its length in bytes. k is
// 0 for a key without a function. n is 0 if the rest of a sequence has not come yet.
func nextKey(sent []byte) (k key, n int) {
	for _, s := range sequences {
		if bytes.HasPrefix(sent, []byte(s.sent)) {
			return s.key, len(s.sent)
		}
	}
	if sent[0] != '\x1b' {
		return 0, 1
	}
	// Another control sequence (ECMA-48, section 5.4), or a key with Alt.
	switch {
	case len(sent) == 1:
		return 0, 0
	case sent[1] == 'O':
		if len(sent) == 2 {
			return 0, 0
		}
		return 0, 3
	case sent[1] != '[':
		return 0, 1
	}
	for i, c := range sent[2:] {
		if c >= 0x40 && c <= 0x7e {
			return 0, i + 3
		}
		if c < 0x20 || i == maxSequence {
			return 0, i + 2
		}
	}
	return 0, 0
}

// maxSequence bounds a control sequence, in bytes.
const maxSequence = 32

// readKeys hands on keys that a terminal sends until it cannot be read any more.
func readKeys(terminal io.Reader, press func(key)) {
	var sent []byte
	buffer := make([]byte, 128)
	for {
		n, err := terminal.Read(buffer)
		sent = append(sent, buffer[:n]...)
		for len(sent) > 0 {
			k, n := nextKey(sent)
			if n == 0 {
				break
			}
			sent = sent[n:]
			if k != 0 {
				press(k)
			}
		}
		if err != nil {
			return
		}
	}
}
