package usage

import (
	"bytes"
	"compress/flate"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// TestPanicWhileReading has what is told of a response panic, on a timer's goroutine too. That
// ends the reading, and nothing else.
func TestPanicWhileReading(t *testing.T) {
	t.Parallel()
	const event = `{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":2}}}`
	type reader interface {
		Tap(p []byte)
		Close()
	}
	for name, test := range map[string]struct {
		open  func(report func(Tokens), panicked func(*contain.PanicError)) reader
		piece []byte
	}{
		"server-sent events": {func(report func(Tokens), panicked func(*contain.PanicError)) reader {
			return NewSSE(report, panicked)
		}, []byte("data: " + event + "\n\n")},
		"WebSocket": {func(report func(Tokens), panicked func(*contain.PanicError)) reader {
			return NewWebSocket([]string{"permessage-deflate"}, report, panicked)
		}, append([]byte{0x80 | opText, byte(len(event))}, event...)},
	} {
		synctest.Test(t, func(t *testing.T) {
			reports, told := 0, 0
			r := test.open(func(Tokens) {
				reports++
				panic("no report")
			}, func(*contain.PanicError) { told++ })
			for range 3 {
				r.Tap(test.piece)
				time.Sleep(2 * readDelay)
			}
			r.Close()
			if reports != 1 || told != 1 {
				t.Errorf("%s: %d reports, told %d times", name, reports, told)
			}
		})
	}
}

// TestPanicWhileClosing has the end of the reading panic, when inflating gives out what it has
// left. Whoever closes it goes on.
func TestPanicWhileClosing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var compressed bytes.Buffer
		z, err := flate.NewWriter(&compressed, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		half := compressed.Bytes()[:compressed.Len()-1]
		told := 0
		w := NewWebSocket([]string{"permessage-deflate"}, func(Tokens) {}, func(*contain.PanicError) { told++ })
		w.Tap(append([]byte{0x40 | opText, byte(len(half))}, half...))
		time.Sleep(2 * readDelay)
		synctest.Wait()
		w.inflate.out = func([]byte) { panic("no room") }
		w.Close()
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// TestPanicWhileWriting has the writing of an entry panic. It counts as lost, and those that
// follow are written.
func TestPanicWhileWriting(t *testing.T) {
	t.Parallel()
	var told []error
	f, err := OpenFile(filepath.Join(t.TempDir(), "usage.jsonl"), func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	file := f.file
	for _, f.file = range []*appended{nil, file} {
		f.write(Entry{})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[1] != nil || f.Lost() != 1 {
		t.Fatalf("told %v, %d are lost", told, f.Lost())
	}
	if _, ok := errors.AsType[*contain.PanicError](told[0]); !ok {
		t.Error(told[0])
	}
}
