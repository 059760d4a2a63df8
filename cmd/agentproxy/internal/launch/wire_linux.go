package launch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The wire between a run and the init process of its command's namespaces is a socket pair.
// The run sends a plan and then orders, and receives reports. When the run is gone, the
// socket is closed, which ends the command.

// plan is all that the init process has to know.
type plan struct {
	View    *View // nil for a probe of the namespaces
	Pids    bool  // there is a PID namespace, which needs its own /proc
	Network bool  // there is a network namespace
	Dir     string
	Path    string
	Args    []string
	Env     []string
	UIDs    []syscall.SysProcIDMap // of the command
	GIDs    []syscall.SysProcIDMap
	Files   []fileSize // of the view, as they follow the plan
	System  []fileSize
}

// fileSize is the name and the size of a file in a view.
type fileSize struct {
	Name string
	Size int
}

// maxFileSize bounds, in bytes, a file of the view that the init process reads.
const maxFileSize = 64 << 20

// sendPlan sends a plan, and then the contents of its view's files as they are: they
// include a bundle of certificates, which takes milliseconds to encode and decode
// as JSON.
func (w *wire) sendPlan(p plan) error {
	var contents net.Buffers
	sizes := func(files map[string][]byte) []fileSize {
		var all []fileSize
		for name, content := range files {
			all = append(all, fileSize{name, len(content)})
			contents = append(contents, content)
		}
		return all
	}
	if p.View != nil {
		p.Files, p.System = sizes(p.View.Files), sizes(p.View.System)
	}
	if err := w.enc.Encode(p); err != nil {
		return err
	}
	_, err := contents.WriteTo(w.conn)
	return err
}

// receivePlan receives what sendPlan sends.
func (w *wire) receivePlan() (plan, error) {
	var p plan
	if err := w.dec.Decode(&p); err != nil || p.View == nil {
		return p, err
	}
	rest := bufio.NewReader(io.MultiReader(w.dec.Buffered(), w.conn))
	if _, err := rest.ReadByte(); err != nil { // the newline that ends the plan
		return p, err
	}
	contents := func(sizes []fileSize) (map[string][]byte, error) {
		files := make(map[string][]byte, len(sizes))
		for _, f := range sizes {
			if f.Size > maxFileSize {
				return nil, fmt.Errorf("%s has %d bytes, more than %d", f.Name, f.Size, maxFileSize)
			}
			files[f.Name] = make([]byte, f.Size)
			if _, err := io.ReadFull(rest, files[f.Name]); err != nil {
				return nil, err
			}
		}
		return files, nil
	}
	var err error
	if p.View.Files, err = contents(p.Files); err != nil {
		return p, err
	}
	if p.View.System, err = contents(p.System); err != nil {
		return p, err
	}
	w.dec = json.NewDecoder(rest)
	return p, nil
}

// order is an order of the run.
type order struct {
	Signal syscall.Signal
}

// report is a report to the run. One of its fields is set.
type report struct {
	Refused *Unsupported // the namespaces cannot be had
	Broken  string       // what was to be hidden cannot be
	Failed  *failure     // the command cannot be started
	Started bool
	Exposed bool // the log-in was replaced from outside, and is covered again
	// Unguarded is why a log-in that is put in place from outside cannot be hidden any more.
	// The command is killed.
	Unguarded string
	Login     bool // the command tried to replace the log-in
	Exit      *int
}

// failure is an error of the system, in a form that can be sent.
type failure struct {
	Errno syscall.Errno
	Text  string
}

// wire is one end of the wire.
type wire struct {
	conn *net.UnixConn
	dec  *json.Decoder
	enc  *json.Encoder
}

func newWire(f *os.File) (*wire, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UnixConn) // it was made by socketpair
	return &wire{conn, json.NewDecoder(conn), json.NewEncoder(conn)}, nil
}

// wirePair returns both ends. theirs is for another process.
func wirePair() (mine *wire, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	own := os.NewFile(uintptr(fds[0]), "wire")
	theirs = os.NewFile(uintptr(fds[1]), "wire")
	defer own.Close() // FileConn has a copy
	if mine, err = newWire(own); err != nil {
		theirs.Close()
	}
	return mine, theirs, err
}

// listenerMark is the byte that is sent with a listener's descriptor.
var listenerMark = []byte{'\n'} // JSON decoders skip it

// sendListener sends a listener to the other end.
func (w *wire) sendListener(l *net.TCPListener) error {
	f, err := l.File()
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, err = w.conn.WriteMsgUnix(listenerMark, unix.UnixRights(int(f.Fd())), nil)
	return err
}

// receiveListener receives the listener that the other end sends first. If that sends a
// report instead, it returns nil and leaves the report to be read.
func (w *wire) receiveListener() (net.Listener, error) {
	b, oob := make([]byte, len(listenerMark)), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	if oobn == 0 {
		w.dec = json.NewDecoder(io.MultiReader(bytes.NewReader(b[:n]), w.conn))
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer f.Close()
	return net.FileListener(f)
}
