package connect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"google.golang.org/protobuf/encoding/protowire"
)

// agentproxyVar and programVar name agentproxy, and the program that is wrapped.
const (
	agentproxyVar = "AGENTPROXY_CONFORMANCE_AGENTPROXY"
	programVar    = "AGENTPROXY_CONFORMANCE_PROGRAM"
)

// where are the fields of connectrpc.conformance.v1 that say where a server is.
type where struct{ host, port, cert protowire.Number }

var (
	serverResponse = where{1, 2, 3} // ServerCompatResponse
	clientRequest  = where{6, 7, 8} // ClientCompatRequest
)

// beServer is a server to the suite: the wrapped one behind agentproxy. It says
// where it is once, and is ended by a signal.
func beServer() (err error) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	cmd := exec.Command(os.Getenv(programVar))
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it says that it was ended
	}()
	message, err := readMessage(out)
	if err != nil {
		return err
	}
	var bridges bridges
	defer func() { err = errors.Join(err, bridges.close()) }()
	if message, err = bridges.lead(message, serverResponse); err != nil {
		return err
	}
	if err := writeMessage(os.Stdout, message); err != nil {
		return err
	}
	<-ended
	return nil
}

// beClient is a client to the suite: the wrapped one, which asks through
// agentproxy. It ends when the suite has no more requests.
func beClient() (err error) {
	cmd := exec.Command(os.Getenv(programVar))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var bridges bridges
	defer func() { err = errors.Join(err, bridges.close()) }()
	for {
		message, err := readMessage(os.Stdin)
		if err == io.EOF {
			return errors.Join(in.Close(), cmd.Wait())
		}
		if err == nil {
			message, err = bridges.lead(message, clientRequest)
		}
		if err == nil {
			err = writeMessage(in, message)
		}
		if err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
}

// bridges are the bridges to some servers, by their addresses.
type bridges struct{ to map[string]*bridge }

// lead returns a message in which a bridge takes the place of the server.
func (bs *bridges) lead(message []byte, fields where) ([]byte, error) {
	var host string
	var port uint64
	var cert, rest []byte
	for all := message; len(all) > 0; {
		number, typ, n := protowire.ConsumeTag(all)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(number, typ, all[n:])
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		switch value := all[n : n+m]; number {
		case fields.host:
			host, _ = protowire.ConsumeString(value)
		case fields.port:
			port, _ = protowire.ConsumeVarint(value)
		case fields.cert:
			cert, _ = protowire.ConsumeBytes(value)
		default:
			rest = append(rest, all[:n+m]...)
		}
		all = all[n+m:]
	}
	server := net.JoinHostPort(host, strconv.FormatUint(port, 10))
	b, ok := bs.to[server]
	if !ok {
		var err error
		if b, err = newBridge(server, cert); err != nil {
			return nil, fmt.Errorf("bridge to %s: %w", server, err)
		}
		if bs.to == nil {
			bs.to = make(map[string]*bridge)
		}
		bs.to[server] = b
	}
	rest = protowire.AppendTag(rest, fields.host, protowire.BytesType)
	rest = protowire.AppendString(rest, "localhost")
	rest = protowire.AppendTag(rest, fields.port, protowire.VarintType)
	rest = protowire.AppendVarint(rest, uint64(b.port()))
	rest = protowire.AppendTag(rest, fields.cert, protowire.BytesType)
	return protowire.AppendBytes(rest, b.ca), nil
}

func (bs *bridges) close() (err error) {
	for _, b := range bs.to {
		err = errors.Join(err, b.close())
	}
	return err
}

// readMessage reads a message that follows its length. The error is io.EOF
// where none begins.
func readMessage(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, message)
	return message, err
}

func writeMessage(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}
