package netconn

// TappedConn is a connection whose written bytes are read along.
type TappedConn struct {
	Wrapper
	Tap interface{ Tap(p []byte) } // is given what was written
}

// Write implements [io.Writer].
func (c TappedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.Tap.Tap(p[:n])
	return n, err
}
