package netconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// record returns a record of TLS with n bytes.
func record(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...)
}

// TestRecords has records come together, and reads into a buffer that has room for several. No
// read that begins within a record goes beyond its end, unless much has come without a pause.
func TestRecords(t *testing.T) {
	t.Parallel()
	const most = 16 << 10 // of a record
	for name, test := range map[string]struct {
		come []int // records, by their bytes
		want []int // reads
	}{
		"small ones together": {[]int{100, 200, 300}, []int{615}},
		"a large one":         {[]int{most, 10}, []int{recordBeginning, most + 5 - recordBeginning, 15}},
		"a small one first":   {[]int{100, most, most}, []int{recordBeginning, 110 + most - recordBeginning, recordBeginning, most + 5 - recordBeginning}},
		"a header in two":     {[]int{recordBeginning - 8, most}, []int{recordBeginning, recordBeginning, most + 2 - recordBeginning}},
		"an empty one":        {[]int{0, most, 0}, []int{recordBeginning, most + 10 - recordBeginning, 5}},
	} {
		var all []byte
		for _, n := range test.come {
			all = append(all, record(n)...)
		}
		if got := readRecords(t, new(Records), all); !slices.Equal(got, test.want) {
			t.Errorf("%s: read %v, want %v", name, got, test.want)
		}
	}
	var c Records
	if got := readRecords(t, &c, bytes.Repeat(record(most), 2*recordsBulk/most)); slices.Max(got) <= most {
		t.Errorf("bulk: %v", got)
	}
	if got := readRecords(t, &c, record(most)); len(got) != 2 {
		t.Errorf("after a pause: %v", got)
	}
}

// readRecords reads all, and returns how much each time.
func readRecords(t *testing.T, c *Records, all []byte) (reads []int) {
	t.Helper()
	var whole []byte
	r, p := bytes.NewReader(all), make([]byte, 40<<10)
	for {
		n, err := c.Read(r, p)
		if err == io.EOF {
			break
		}
		reads = append(reads, n)
		whole = append(whole, p[:n]...)
	}
	if !bytes.Equal(whole, all) {
		t.Errorf("%d bytes were read of %d, or others", len(whole), len(all))
	}
	return reads
}

// TestRecordsKeepBuffersSmall has large records come together on many connections, and measures
// what crypto/tls holds of each afterwards.
func TestRecordsKeepBuffersSmall(t *testing.T) {
	const connections, most = 50, 30_000
	certificate := selfSigned(t)
	serve := func(conn net.Conn) *tls.Conn {
		return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true})
	}
	var held []*tls.Conn
	before := liveHeap()
	for range connections {
		up, down := newQueuedBytes(), newQueuedBytes()
		client := tls.Client(&queuedConn{in: down, out: up}, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
		server := serve(&recordsConn{Conn: &queuedConn{in: up, out: down}})
		sent := make(chan error, 1)
		go func() { sent <- client.Handshake() }()
		err := server.Handshake()
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
		up.waiting, down.waiting = bytes.Buffer{}, bytes.Buffer{}
		held = append(held, server)
	}
	if each := (liveHeap() - before) / connections; each > most {
		t.Errorf("a connection holds %d bytes, want %d at most", each, most)
	}
	runtime.KeepAlive(held)
}

func liveHeap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// recordsConn reads by way of Records.
type recordsConn struct {
	net.Conn
	records Records
}

// Read implements [net.Conn].
func (c *recordsConn) Read(p []byte) (int, error) { return c.records.Read(c.Conn, p) }

// queuedConn has what was sent come together.
type queuedConn struct {
	net.Conn
	in, out *queuedBytes
}

// Read implements [net.Conn].
func (c *queuedConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements [net.Conn].
func (c *queuedConn) Write(p []byte) (int, error) { return c.out.write(p) }

// queuedBytes are bytes between two goroutines.
type queuedBytes struct {
	mu      sync.Mutex
	came    *sync.Cond
	waiting bytes.Buffer
}

func newQueuedBytes() *queuedBytes {
	q := new(queuedBytes)
	q.came = sync.NewCond(&q.mu)
	return q
}

func (q *queuedBytes) write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.came.Signal()
	return q.waiting.Write(p)
}

func (q *queuedBytes) read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.waiting.Len() == 0 {
		q.came.Wait()
	}
	return q.waiting.Read(p)
}

// selfSigned returns a certificate for anybody.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// FuzzRecords has anything come, in anything that is read into. Nothing is lost.
func FuzzRecords(f *testing.F) {
	f.Add(append(record(3000), record(5)...), uint16(1<<14))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, all []byte, room uint16) {
		var c Records
		r, p := bytes.NewReader(all), make([]byte, 1+int(room))
		var whole []byte
		for {
			n, err := c.Read(r, p)
			whole = append(whole, p[:n]...)
			if err != nil {
				break
			}
			if n == 0 || c.left < 0 || c.left > 1<<16 || c.have < 0 || c.have >= recordHeader {
				t.Fatalf("%d bytes: %d left, %d of a header", n, c.left, c.have)
			}
		}
		if !bytes.Equal(whole, all) {
			t.Fatalf("%q of %q", whole, all)
		}
	})
}
