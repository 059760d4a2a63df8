package message

import (
	"io"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// Copy copies from src to dst until src ends, through buffers that fit what comes. What
// came at once is written at once. socket is the one below src, or nil.
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
			b = p.Fit(b, n)
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}
