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
	b := p.Small()
	defer func() { p.Put(b) }()
	for {
		n, err := src.Read(b)
		if n > 0 {
			if err == nil {
				n = socket.ReadMore(src, b, n)
			}
			m, errWrite := dst.Write(b[:n])
			written += int64(m)
			if errWrite != nil {
				return written, errWrite
			}
			if socket == nil && n < len(b) && len(b) > smallSize {
				p.Put(b)
				b = p.Small()
			} else {
				b = p.Fit(b, n)
			}
		}
		if err == netconn.ErrNothingYet {
			p.Put(b)
			src.(interface{ Wait() }).Wait()
			b, err = p.Small(), nil
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}
