package message

import (
	"io"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// Copy copies from src to dst until src ends, through buffers that fit what comes. What
// came at once is written at once. socket is the one below src, or nil: then a large buffer is
// given back when a piece has not filled it, for the next one may be long in coming. If src
// returns [netconn.ErrNothingYet], it has a method Wait, during which there is no buffer.
func (p *Buffers) Copy(dst io.Writer, src io.Reader, socket *netconn.Socket) (written int64, err error) {
	least := smallSize
	if socket != nil {
		least = tinySize
	}
	b := p.get(least)
	defer func() { p.Put(b) }()
	for {
		n, err := src.Read(b)
		if n > 0 {
			if err == nil {
				if n == tinySize && len(b) == tinySize { // and the rest is to be written with it
					small := p.Small()
					copy(small, b)
					p.Put(b)
					b = small
				}
				n = socket.ReadMore(src, b, n)
			}
			m, errWrite := dst.Write(b[:n])
			written += int64(m)
			if errWrite != nil {
				return written, errWrite
			}
			if socket == nil && n < len(b) && len(b) > smallSize || n < least/2 && len(b) > least {
				p.Put(b)
				b = p.get(least)
			} else {
				b = p.Fit(b, n)
			}
		}
		if err == netconn.ErrNothingYet {
			p.Put(b)
			b = nil // or it would be held all the same
			src.(interface{ Wait() }).Wait()
			b, err = p.get(least), nil
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}
