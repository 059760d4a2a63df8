package retry

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// TestFlightPanics has work panic that several wait for. It is an error of each, and the next
// one works.
func TestFlightPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int64
		f := Flight[int]{Panicked: func(*contain.PanicError) { panics.Add(1) }}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				v, err := f.Do(t.Context(), "key", func(context.Context) (int, error) {
					time.Sleep(time.Second)
					panic("sekret")
				})
				if v != 0 || err == nil || strings.Contains(err.Error(), "sekret") {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		all.Wait()
		if n := panics.Load(); n != 1 {
			t.Errorf("told of %d panics", n)
		}
		if v, err := f.Do(t.Context(), "key", func(context.Context) (int, error) { return 5, nil }); v != 5 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
		f.Close() // does not wait for ever
	})
}
