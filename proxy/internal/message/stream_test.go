package message

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// TestCopy copies through all sizes of buffers, and tells of errors on both sides.
func TestCopy(t *testing.T) {
	t.Parallel()
	var buffers Buffers
	for _, size := range []int{0, 1, smallSize, smallSize + 1, 1 << 20} {
		want := bytes.Repeat([]byte("x"), size)
		var got bytes.Buffer
		if n, err := buffers.Copy(&got, bytes.NewReader(want), nil); n != int64(size) || err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes of %d, %v", n, size, err)
		}
	}
	broken := errors.New("broken")
	if n, err := buffers.Copy(io.Discard, io.MultiReader(bytes.NewReader([]byte("abc")), iotest.ErrReader(broken)), nil); n != 3 || err != broken {
		t.Errorf("a source that fails: %d, %v", n, err)
	}
	r, w := io.Pipe()
	r.CloseWithError(broken)
	if _, err := buffers.Copy(w, bytes.NewReader([]byte("abc")), nil); err != broken {
		t.Errorf("a destination that fails: %v", err)
	}
}

// TestCopyHoldsLittle has a message come that fills a buffer, and then nothing for long.
func TestCopyHoldsLittle(t *testing.T) {
	t.Parallel()
	var buffers Buffers
	src := &pieces{come: []int{smallSize, bufferSize, 5 << 10, 250}}
	if _, err := buffers.Copy(io.Discard, src, nil); err != nil {
		t.Fatal(err)
	}
	if want := []int{smallSize, bufferSize, bulkSize, smallSize, smallSize}; !slices.Equal(src.room, want) {
		t.Errorf("the reads had room for %d bytes, want %d", src.room, want)
	}
}

// TestCopyWaits has a source say now and then that nothing has come.
func TestCopyWaits(t *testing.T) {
	t.Parallel()
	var buffers Buffers
	src := &quietReader{Reader: iotest.OneByteReader(strings.NewReader("abc"))}
	var got bytes.Buffer
	if n, err := buffers.Copy(&got, src, nil); n != 3 || err != nil || got.String() != "abc" || src.waits != 4 {
		t.Errorf("%d bytes, %q, %v, after %d waits", n, got.String(), err, src.waits)
	}
}

// TestNothingIsHeldMeanwhile has a source be waited for in vain, by way of Copy and by way of Read,
// and looks whether the buffer is gone by then.
func TestNothingIsHeldMeanwhile(t *testing.T) {
	for name, copyFrom := range map[string]func(*Buffers, io.Reader) error{
		"Copy": func(p *Buffers, r io.Reader) error {
			_, err := p.Copy(io.Discard, r, nil)
			return err
		},
		"Read": func(p *Buffers, r io.Reader) error {
			b := p.Small()
			defer func() { p.Put(b) }()
			for {
				if _, err := p.Read(&b, r, true); err != nil {
					return err
				}
			}
		},
	} {
		waiting, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		gone := make(chan struct{})
		src := &heldReader{gone: gone, waiting: waiting, goOn: goOn}
		go func() { done <- copyFrom(new(Buffers), src) }()
		<-waiting
		deadline := time.After(time.Minute)
	collect:
		for {
			runtime.GC()
			select {
			case <-gone:
				break collect
			case <-deadline:
				t.Fatalf("%s: the buffer is held", name)
			case <-time.After(time.Millisecond):
			}
		}
		close(goOn)
		if err := <-done; err != io.EOF && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// heldReader has something, then nothing until goOn is closed, and then ends. It tells when what
// it was read into first is gone.
type heldReader struct {
	gone, waiting, goOn chan struct{}
	read                bool
}

// Read implements [io.Reader].
func (r *heldReader) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0 && r.read:
		r.Wait()
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case !r.read:
		r.read = true
		runtime.AddCleanup(&p[0], func(gone chan struct{}) { close(gone) }, r.gone)
		return 1, nil
	}
	select {
	case <-r.goOn:
		return 0, io.EOF
	default:
		return 0, netconn.ErrNothingYet
	}
}

// Wait waits for the end.
func (r *heldReader) Wait() {
	close(r.waiting)
	<-r.goOn
}

// quietReader is a reader that wants to be waited for before each read.
type quietReader struct {
	io.Reader
	waited bool
	waits  int
}

func (r *quietReader) Read(p []byte) (int, error) {
	if r.waited = !r.waited; r.waited {
		return 0, netconn.ErrNothingYet
	}
	return r.Reader.Read(p)
}

func (r *quietReader) Wait() { r.waits++ }

// pieces is a reader of pieces that come one by one. It notes the room that each read has.
type pieces struct{ come, room []int }

func (r *pieces) Read(p []byte) (int, error) {
	r.room = append(r.room, len(p))
	if len(r.come) == 0 {
		return 0, io.EOF
	}
	n := r.come[0]
	r.come = r.come[1:]
	return n, nil
}

// TestFit has buffers grow with what comes, and shrink when little does.
func TestFit(t *testing.T) {
	t.Parallel()
	var buffers Buffers
	b := buffers.Small()
	for _, step := range []struct{ came, want int }{
		{250, smallSize}, {smallSize, bufferSize}, {16 << 10, bufferSize}, {bufferSize, bulkSize},
		{bulkSize, bulkSize}, {smallSize, bulkSize}, {250, smallSize}, {250, smallSize},
	} {
		if b = buffers.Fit(b, step.came); len(b) != step.want {
			t.Errorf("after %d bytes the buffer has %d, want %d", step.came, len(b), step.want)
		}
	}
}

// TestCopyOfEvents has events come on a socket, one after another. Each is written whole, and a
// small one is followed by a wait with the smallest buffer.
func TestCopyOfEvents(t *testing.T) {
	t.Parallel()
	if !netconn.CanProbe {
		t.Log("what has come cannot be read without waiting on this system")
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sender, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	socket, err := netconn.NewSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	src, dst := &roomReader{socket: socket}, make(chan []byte)
	done := make(chan error, 1)
	go func() {
		_, err := new(Buffers).Copy(writerFunc(func(p []byte) (int, error) {
			dst <- bytes.Clone(p)
			return len(p), nil
		}), src, socket)
		done <- err
	}()
	for _, size := range []int{250, tinySize, 1500, 250} {
		event := bytes.Repeat([]byte("e"), size)
		if _, err := sender.Write(event); err != nil {
			t.Fatal(err)
		}
		if got := <-dst; !bytes.Equal(got, event) {
			t.Errorf("an event of %d bytes was written in one of %d", size, len(got))
		}
	}
	sender.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// After an event of the size of the buffer a larger one is looked into for more.
	if want := []int{tinySize, tinySize, smallSize - tinySize, smallSize, smallSize, tinySize}; !slices.Equal(src.room, want) {
		t.Errorf("read into %v, want %v", src.room, want)
	}
}

// roomReader notes how much room there is for what it reads.
type roomReader struct {
	socket *netconn.Socket
	room   []int
}

// Read implements [io.Reader].
func (r *roomReader) Read(p []byte) (int, error) {
	r.room = append(r.room, len(p))
	return r.socket.Read(p)
}

type writerFunc func([]byte) (int, error)

// Write implements [io.Writer].
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
