package message

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lengths reads, and notes into how many bytes.
type lengths struct {
	io.Reader
	of []int
}

// Read implements [io.Reader].
func (l *lengths) Read(p []byte) (int, error) {
	l.of = append(l.of, len(p))
	if len(p) == 0 {
		return 0, nil
	}
	return l.Reader.Read(p)
}

// TestReadWithoutBuffer reads nothing first where that waits, and then into a buffer that is as
// large as before.
func TestReadWithoutBuffer(t *testing.T) {
	t.Parallel()
	for _, waits := range []bool{false, true} {
		var p Buffers
		r := &lengths{Reader: strings.NewReader("abc")}
		b := p.Get()
		n, err := p.Read(&b, r, waits)
		want := []int{bufferSize}
		if waits {
			want = []int{0, bufferSize}
		}
		if n != 3 || err != nil || string(b[:n]) != "abc" || !slices.Equal(r.of, want) {
			t.Errorf("waits %t: %d, %v, into %v; want into %v", waits, n, err, r.of, want)
		}
	}
}

// TestReadOfNothingWaits holds net/http to what [Buffers.Read] makes use of.
func TestReadOfNothingWaits(t *testing.T) {
	t.Parallel()
	var written atomic.Bool
	reading := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-reading
		time.Sleep(20 * time.Millisecond) // in which a read that does not wait returns
		written.Store(true)
		_, _ = io.WriteString(w, "abc")
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Fatal(res.Proto)
	}
	close(reading)
	if n, err := res.Body.Read(nil); n != 0 || err != nil || !written.Load() {
		t.Errorf("%d, %v, before something was sent: %t", n, err, !written.Load())
	}
	if all, err := io.ReadAll(res.Body); string(all) != "abc" || err != nil {
		t.Errorf("then %q, %v", all, err)
	}
	if _, err := res.Body.Read(nil); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}
