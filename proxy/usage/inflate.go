package usage

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"iter"
)

// maxMessage bounds what one compressed message or response may become, in bytes. Beyond it the
// time that it takes would be felt.
const maxMessage = 64 << 20

// inflater decompresses what is written to it as it comes, across messages.
// compress/flate reads from a reader and cannot go on after one that had no more, so
// it runs in a coroutine that is left where it wants more. It must be closed.
type inflater struct {
	out  func([]byte) // is given what comes of it
	next func() (struct{}, bool)
	stop func()

	in        []byte // what was written and is not read yet
	yield     func(struct{}) bool
	failed    bool
	remaining int // of maxMessage
	buffer    [4 << 10]byte
}

// Errors that [inflater.ReadByte] gives the decompressor.
var errStopped = errors.New("nothing more is read")

// newInflater returns an inflater that gives what it decompresses to out.
func newInflater(out func([]byte)) *inflater { return startInflater(out, (*inflater).inflate) }

// newGunzipper returns an inflater that reads one member of gzip (RFC 1952), and what follows
// it as little as what is broken.
func newGunzipper(out func([]byte)) *inflater { return startInflater(out, (*inflater).gunzip) }

func startInflater(out func([]byte), run func(*inflater)) *inflater {
	f := &inflater{out: out, remaining: maxMessage}
	f.next, f.stop = iter.Pull(func(yield func(struct{}) bool) {
		f.yield = yield
		run(f)
	})
	f.next() // up to the first byte
	return f
}

// begin begins a message.
func (f *inflater) begin() { f.remaining = maxMessage }

// write decompresses p. It reports whether it could.
func (f *inflater) write(p []byte) bool {
	if f.failed || len(p) == 0 {
		return !f.failed
	}
	f.in = p
	f.next()
	f.in = nil
	return !f.failed
}

// close ends the coroutine.
func (f *inflater) close() { f.stop() }

// inflate is the coroutine of newInflater.
func (f *inflater) inflate() {
	z := flate.NewReader(f)
	// A stream may end within a connection (RFC 7692, section 7.2.3.4). The one that follows
	// may refer to it, which is not held: if it does it is broken.
	for f.copy(z) == io.EOF && z.(flate.Resetter).Reset(f, nil) == nil {
	}
	f.failed = true
}

// gunzip is the coroutine of newGunzipper. compress/gzip would hold the header, which may be
// larger than all else.
func (f *inflater) gunzip() {
	if f.skipHeader() {
		_ = f.copy(flate.NewReader(f))
	}
	f.failed = true
}

// skipHeader reads the header of a member of gzip (RFC 1952, section 2.3), and reports whether it
// is one.
func (f *inflater) skipHeader() bool {
	const sum, extra, name, comment = 1 << 1, 1 << 2, 1 << 3, 1 << 4
	var fixed [10]byte
	if _, err := io.ReadFull(f, fixed[:]); err != nil || fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8 {
		return false
	}
	flags := fixed[3]
	if flags&extra != 0 {
		var length [2]byte
		if _, err := io.ReadFull(f, length[:]); err != nil || !f.skip(int(binary.LittleEndian.Uint16(length[:]))) {
			return false
		}
	}
	for _, text := range []byte{name, comment} {
		if flags&text != 0 && !f.skipText() {
			return false
		}
	}
	return flags&sum == 0 || f.skip(2)
}

// skip passes over n bytes, and reports whether there were as many.
func (f *inflater) skip(n int) bool {
	for ; n > 0; n-- {
		if _, err := f.ReadByte(); err != nil {
			return false
		}
	}
	return true
}

// skipText passes over text that ends with a zero, and reports whether it did.
func (f *inflater) skipText() bool {
	for {
		if c, err := f.ReadByte(); err != nil || c == 0 {
			return err == nil
		}
	}
}

// copy gives out what z reads, until that ends.
func (f *inflater) copy(z io.Reader) error {
	for {
		n, err := z.Read(f.buffer[:])
		if f.remaining -= n; f.remaining < 0 {
			return errStopped
		}
		if f.out(f.buffer[:n]); err != nil {
			return err
		}
	}
}

// ReadByte implements [io.ByteReader] for the decompressor.
func (f *inflater) ReadByte() (byte, error) {
	for len(f.in) == 0 {
		if !f.yield(struct{}{}) {
			return 0, errStopped
		}
	}
	c := f.in[0]
	f.in = f.in[1:]
	return c, nil
}

// Read implements [io.Reader] for the decompressor.
func (f *inflater) Read(p []byte) (int, error) {
	c, err := f.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	n := copy(p[1:], f.in)
	f.in = f.in[n:]
	return n + 1, nil
}
