package message

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

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
