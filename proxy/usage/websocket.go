package usage

import (
	"encoding/binary"
	"strings"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// WebSocket reads along what a server sends over a WebSocket (RFC 6455), compressed
// per message (RFC 7692) or not. It must be made by [NewWebSocket] and closed. It
// may be closed while another goroutine calls Tap.
type WebSocket struct {
	queue   queue // everything else is what it reads into
	report  func(Tokens)
	event   event
	deflate bool
	inflate *inflater
	closed  bool // nothing is read any more

	header  [10]byte
	n       int    // of header
	left    uint64 // of the payload
	payload bool   // it is read; else the header is
	frame   frame

	text, compressed, open bool // of the message
}

// frame is the header of a frame.
type frame struct {
	fin, compressed bool
	opcode          byte
}

// The opcodes (RFC 6455, section 11.8).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8 // and above: control frames
)

// NewWebSocket returns a reader for a connection whose handshake was answered with
// these values of Sec-WebSocket-Extensions. It calls report for each response that
// says what it used, and panicked if it panics, which ends the reading alone.
func NewWebSocket(extensions []string, report func(Tokens), panicked func(*contain.PanicError)) *WebSocket {
	w := &WebSocket{report: report}
	for extension := range strings.SplitSeq(strings.Join(extensions, ","), ",") {
		name, _, _ := strings.Cut(extension, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "":
		case "permessage-deflate":
			// Without context takeover a message refers to none before it, which needs
			// nothing of a reader that remembers them.
			w.deflate = true
		default:
			w.closed = true // whatever it makes of frames
		}
	}
	w.queue.read, w.queue.panicked = w.read, panicked
	return w
}

// Tap has p read, within [readDelay]. It does not keep p.
func (w *WebSocket) Tap(p []byte) {
	if w.deflate {
		w.queue.add(p)
	} else { // which takes no longer than to put it aside
		w.queue.flush(p)
	}
}

// Close reads what was not read yet, and ends the reading.
func (w *WebSocket) Close() {
	w.queue.close()
	contain.Do(w.queue.panicked, w.end) // inflating reads what it has left
}

// read reads on. It reports whether there is any use in more.
func (w *WebSocket) read(p []byte) bool {
	for !w.closed {
		if !w.payload {
			if p = w.readHeader(p); !w.payload {
				break
			}
		}
		n := min(uint64(len(p)), w.left)
		w.readPayload(p[:n])
		p, w.left = p[n:], w.left-n
		if w.left > 0 {
			break
		}
		w.payload, w.n = false, 0
		w.endFrame()
	}
	return !w.closed
}

func (w *WebSocket) end() {
	w.closed = true
	if w.inflate != nil {
		w.inflate.close()
		w.inflate = nil
	}
}

// readHeader reads the header of a frame (RFC 6455, section 5.2). It returns what
// follows it, and sets payload once it is complete.
func (w *WebSocket) readHeader(p []byte) []byte {
	for len(p) > 0 {
		w.header[w.n] = p[0]
		p = p[1:]
		w.n++
		if w.n < 2 {
			continue
		}
		size := 2
		switch length := w.header[1] & 0x7f; length {
		case 126:
			size, w.left = 4, uint64(binary.BigEndian.Uint16(w.header[2:]))
		case 127:
			size, w.left = 10, binary.BigEndian.Uint64(w.header[2:])
		default:
			w.left = uint64(length)
		}
		if w.n < size {
			continue
		}
		w.payload = true
		w.beginFrame()
		return p
	}
	return nil
}

// beginFrame takes a header in. A connection that breaks the rules is read no
// further: its peers will end it.
func (w *WebSocket) beginFrame() {
	f := frame{fin: w.header[0]&0x80 != 0, compressed: w.header[0]&0x40 != 0, opcode: w.header[0] & 0x0f}
	control := f.opcode >= opClose
	wrong := w.header[0]&0x30 != 0 || w.header[1]&0x80 != 0 || w.left>>63 != 0 ||
		f.compressed && (!w.deflate || control || f.opcode == opContinuation) ||
		control && !f.fin ||
		!control && (f.opcode > opBinary || w.open != (f.opcode == opContinuation))
	if wrong {
		w.end()
		return
	}
	w.frame = f
	if control || f.opcode == opContinuation {
		return
	}
	w.open, w.text, w.compressed = true, f.opcode == opText, f.compressed
	if !f.compressed {
		return
	}
	if w.inflate == nil {
		w.inflate = newInflater(func(p []byte) {
			if w.text {
				w.event.write(p)
			}
		})
	}
	w.inflate.begin()
}

func (w *WebSocket) readPayload(p []byte) {
	switch {
	case w.closed, w.frame.opcode >= opClose:
	case w.compressed:
		if !w.inflate.write(p) {
			w.end()
		}
	case w.text:
		w.event.write(p)
	}
}

// deflateTail is what the sender has left out at the end of a compressed message
// (RFC 7692, section 7.2.2).
var deflateTail = []byte{0x00, 0x00, 0xff, 0xff}

// endFrame ends a frame, and a message if it was the last one of it.
func (w *WebSocket) endFrame() {
	if w.closed || w.frame.opcode >= opClose || !w.frame.fin {
		return
	}
	if w.compressed && !w.inflate.write(deflateTail) {
		w.end()
		return
	}
	w.open = false
	if used, ok := w.event.end(); ok {
		w.report(used)
	}
}
