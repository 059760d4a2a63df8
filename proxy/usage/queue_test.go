package usage

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestQueue: what is added is read in its order, soon, and at once if it is much.
func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got, want []byte
		var mu sync.Mutex // over got
		var q queue
		q.read = func(p []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, p...)
			return true
		}
		add := func(size int) {
			p := bytes.Repeat([]byte{byte(len(want))}, size)
			want = append(want, p...)
			q.add(p)
			clear(p) // which is not kept
		}
		read := func(when string, all bool) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if bytes.Equal(got, want) != all || !bytes.HasPrefix(want, got) {
				t.Errorf("%s: %d bytes were read, %d added", when, len(got), len(want))
			}
		}
		for range 2 {
			add(10)
			time.Sleep(readDelay - 1)
			add(10)
			synctest.Wait()
			read("too early", false)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			read("in time", true)
		}
		add(queueSize/2 + 1)
		synctest.Wait()
		read("half full", true)
		add(10)
		add(queueSize)
		read("overfull", true)
		time.Sleep(2 * readDelay)
		add(10)
		q.close()
		read("closed", true)
		add(10)
		time.Sleep(2 * readDelay)
		read("behind the end", false)
	})
}

// TestQueueDoesNotWait: whoever adds does not wait for who reads until as much has come
// meanwhile as the queue holds.
func TestQueueDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int{{1, queueSize - 1}, {queueSize / 2, queueSize / 2}, {queueSize, queueSize}} {
		var got, want []byte
		reads, release := make(chan int), make(chan struct{})
		var q queue
		q.read = func(p []byte) bool {
			if len(p) > 0 {
				reads <- len(p)
				<-release
			}
			got = append(got, p...)
			return true
		}
		add := func(c byte, size int) {
			p := bytes.Repeat([]byte{c}, size)
			want = append(want, p...)
			q.add(p)
		}
		add('a', queueSize/2+1)
		if n := <-reads; n != queueSize/2+1 {
			t.Errorf("%d bytes are read at once", n)
		}
		free := queueSize
		for i, size := range sizes {
			if free -= size; free < 0 {
				break
			}
			add('b'+byte(i), size) // returns while the former are being read
		}
		done := make(chan struct{})
		go func() {
			add('z', queueSize)
			q.close()
			close(done)
		}()
		close(release)
		for ended := false; !ended; {
			select {
			case <-reads:
			case <-done:
				ended = true
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes were read, or not in their order; %d were added", sizes, len(got), len(want))
		}
	}
}

// TestQueueEnds: nothing is read once the reader wants no more.
func TestQueueEnds(t *testing.T) {
	t.Parallel()
	reads := 0
	var q queue
	q.read = func(p []byte) bool {
		if len(p) > 0 {
			reads++
		}
		return len(p) == 0
	}
	q.add(make([]byte, queueSize+1))
	q.add(make([]byte, queueSize+1))
	q.add(make([]byte, 1))
	q.close()
	if reads != 1 || q.pending != nil {
		t.Errorf("%d reads, %d bytes are held", reads, len(q.pending))
	}
}
