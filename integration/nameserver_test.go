//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// upstreamName is the one name that a nameServer knows: 127.0.0.1.
const upstreamName = "upstream.example"

// nameServer answers queries, until it is told to answer otherwise.
type nameServer struct {
	conn  net.PacketConn
	group sync.WaitGroup
	mode  atomic.Int32
}

// What a nameServer does with queries.
const (
	namesKnown  int32 = iota
	namesGone         // the name does not exist
	namesFailed       // the server says that it failed
	namesSilent       // nothing comes back
)

// newNameServer starts a name server on port 53 of a loopback address of its own,
// which root alone can.
func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{}
	var err error
	for i := 1; i < 255 && s.conn == nil; i++ {
		s.conn, err = net.ListenPacket("udp", fmt.Sprintf("127.53.0.%d:53", i))
	}
	if s.conn == nil {
		t.Fatal(err)
	}
	s.group.Go(func() {
		query := make([]byte, 1<<12)
		for {
			n, from, err := s.conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := answerQuery(query[:n], s.mode.Load()); err == nil && answer != nil {
				_, _ = s.conn.WriteTo(answer, from) // else it is asked again
			}
		}
	})
	t.Cleanup(func() {
		s.conn.Close()
		s.group.Wait()
	})
	return s
}

// answerQuery returns no answer where none is to be sent.
func answerQuery(query []byte, mode int32) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 || mode == namesSilent {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	known := m.Questions[0].Name.String() == upstreamName+"."
	switch {
	case mode == namesFailed:
		m.RCode = dnsmessage.RCodeServerFailure
	case mode == namesGone || !known:
		m.RCode = dnsmessage.RCodeNameError
	case m.Questions[0].Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}

// resolveBy has the proxy know no other name server than s: it is started in a
// mount namespace of its own.
func (f *fixture) resolveBy(t *testing.T, s *nameServer) {
	t.Helper()
	host, _, _ := net.SplitHostPort(s.conn.LocalAddr().String())
	file := filepath.Join(filepath.Dir(f.config), "resolv.conf")
	writeFile(t, file, []byte("nameserver "+host+"\noptions timeout:1 attempts:1\n"))
	resolv, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	f.starter = []string{systemProgram(t, "unshare"), "--mount", "sh", "-c", `mount --bind "$0" "$1" && shift && exec "$@"`, file, resolv}
}

// brokenNames makes the proxy reach its backend by a name, and returns what takes
// name resolution away. Only root can; for others names never break.
func (f *fixture) brokenNames(t *testing.T, address string) (lose func(mode int32)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: name resolution will not break")
		return func(int32) {}
	}
	s := newNameServer(t)
	f.resolveBy(t, s)
	_, port, _ := net.SplitHostPort(address)
	f.edit(t, `"`+address+`"`, `"`+net.JoinHostPort(upstreamName, port)+`"`)
	return s.mode.Store
}
