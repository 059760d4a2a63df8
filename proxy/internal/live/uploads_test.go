package live

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// upload is [Entry.BeginUpload], whether or not it waits.
func (f *fake) upload(ctx context.Context, length int64) *refuse.Refusal {
	_, refused := f.BeginUpload(ctx, length)
	return refused
}

// TestUploadThatWaits says so.
func TestUploadThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := wide
		b.Uploads = Share{All: 8 * maxUpload, Label: maxUpload}
		s := NewSet(b)
		first := newFake(t, s, "a", 0)
		if waited, refused := first.BeginUpload(t.Context(), -1); waited || refused != nil {
			t.Errorf("the first has waited: %t, %v", waited, refused)
		}
		second := make(chan bool, 1)
		f := newFake(t, s, "a", 0)
		go func() {
			waited, refused := f.BeginUpload(t.Context(), -1)
			second <- waited && refused == nil
		}()
		synctest.Wait()
		first.EndUpload()
		if !<-second {
			t.Error("the second has not waited, or was refused")
		}
	})
}

// TestUploads bounds the buffers of uploads, of each label and of all. What there is no room
// for waits, for a while, and nobody waits behind another label.
func TestUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := wide
		b.Uploads = Share{All: 8 * maxUpload, Label: 2 * maxUpload}
		s := NewSet(b)
		begin := func(label string, length int64) (*fake, chan *refuse.Refusal) {
			f, refused := newFake(t, s, label, 0), make(chan *refuse.Refusal, 1)
			go func() { refused <- f.upload(t.Context(), length) }()
			synctest.Wait()
			return f, refused
		}
		begun := func(refused chan *refuse.Refusal) bool {
			select {
			case r := <-refused:
				if r != nil {
					t.Error(r)
				}
				return true
			default:
				return false
			}
		}
		first, r := begin("a", -1)
		if !begun(r) {
			t.Error("the first waits")
		}
		if _, r := begin("a", 100<<20); !begun(r) {
			t.Error("the second waits")
		}
		third, r3 := begin("a", maxUpload-1)
		fourth, r4 := begin("a", freeUpload+1)
		if begun(r3) || begun(r4) {
			t.Error("a label has more than its share")
		}
		if _, r := begin("a", freeUpload); !begun(r) {
			t.Error("a small one waits")
		}
		if _, r := begin("b", -1); !begun(r) {
			t.Error("another label waits")
		}
		first.EndUpload()
		first.EndUpload()
		synctest.Wait()
		if !begun(r3) || begun(r4) {
			t.Error("not the one that waits longest has begun")
		}
		s.Remove(third, func() {})
		synctest.Wait()
		if !begun(r4) || s.uploads != 2*maxUpload+2*freeUpload {
			t.Errorf("%d bytes are counted", s.uploads)
		}
		s.Remove(fourth, func() {})
		// A quarter is for labels that have none.
		for _, label := range []string{"b", "c", "c", "d"} {
			if _, r := begin(label, -1); !begun(r) {
				t.Errorf("%s waits", label)
			}
		}
		late, r := begin("d", -1)
		if begun(r) {
			t.Error("a label that has some gets what is kept for others")
		}
		_, r2 := begin("e", -1)
		_, r3 = begin("f", -1)
		if !begun(r2) || !begun(r3) || s.uploads != b.Uploads.All {
			t.Errorf("others wait, %d bytes are counted", s.uploads)
		}
		begunAt := time.Now()
		wantBusy(t, <-r, "large bodies")
		if took := time.Since(begunAt); took != uploadPatience || late.uploading.Load() != 0 || len(s.uploadsWaiting) != 0 {
			t.Errorf("it waited %s, and %d wait", took, len(s.uploadsWaiting))
		}
	})
}

// TestUploadsOfOneConnection has an upload find no room while another is under way on its connection,
// whose window it would take: it is refused at once. One that is alone there waits.
func TestUploadsOfOneConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := wide
		b.Uploads = Share{All: 8 * maxUpload, Label: 2 * maxUpload}
		s := NewSet(b)
		on := func(c *Conn) *fake {
			f := new(fake)
			f.Conn = c
			if refused := s.Add(f, "a", nil); refused != nil {
				t.Fatal(refused)
			}
			return f
		}
		shared, other := new(Conn), new(Conn)
		first, second := on(shared), on(shared)
		for _, f := range []*fake{first, second} {
			if refused := f.upload(t.Context(), -1); refused != nil {
				t.Fatal(refused)
			}
		}
		begun := time.Now()
		third := on(shared)
		wantBusy(t, third.upload(t.Context(), -1), "large bodies")
		if refused := third.upload(t.Context(), freeUpload); refused != nil {
			t.Error(refused)
		}
		third.EndUpload()
		s.Remove(third, func() {})
		if shared.uploads != 2 {
			t.Errorf("%d are counted", shared.uploads)
		}
		alone := make(chan *refuse.Refusal)
		go func() { alone <- on(other).upload(t.Context(), -1) }()
		synctest.Wait()
		wantBusy(t, on(other).upload(t.Context(), -1), "large bodies")
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("they waited for %s", waited)
		}
		first.EndUpload()
		if refused := <-alone; refused != nil {
			t.Error(refused)
		}
		s.Remove(second, func() {})
		if refused := on(shared).upload(t.Context(), -1); refused != nil {
			t.Error(refused)
		}
		if shared.uploads != 1 || other.uploads != 1 || len(s.uploadsWaiting) != 0 {
			t.Errorf("%d and %d are counted, %d wait", shared.uploads, other.uploads, len(s.uploadsWaiting))
		}
	})
}

// TestUploadGivesUp has an upload wait whose client goes away, before another of its label.
func TestUploadGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := wide
		b.Uploads = Share{All: 8 * maxUpload, Label: maxUpload + freeUpload*2}
		s := NewSet(b)
		if refused := newFake(t, s, "a", 0).upload(t.Context(), -1); refused != nil {
			t.Fatal(refused)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone, small := make(chan *refuse.Refusal), make(chan *refuse.Refusal)
		g, f := newFake(t, s, "a", 0), newFake(t, s, "a", 0)
		go func() { gone <- g.upload(ctx, -1) }()
		synctest.Wait()
		go func() { small <- f.upload(t.Context(), freeUpload+1) }()
		synctest.Wait()
		cancel()
		if refused := <-gone; refused == nil || !strings.Contains(refused.Message, "large bodies") {
			t.Error(refused)
		}
		if refused := <-small; refused != nil {
			t.Error(refused)
		}
	})
}

// TestUploadWithLittleMemory lets one upload at a time through.
func TestUploadWithLittleMemory(t *testing.T) {
	t.Parallel()
	s := NewSet(BoundsOf(1<<20, 10))
	f := newFake(t, s, "a", 0)
	if refused := f.upload(t.Context(), -1); refused != nil {
		t.Error(refused)
	}
	f.EndUpload()
	if s.uploads != 0 || f.label.uploads != 0 {
		t.Error("something is left")
	}
}

// TestUploadsKeepTheirOrder has an upload wait that needs much, and others that need little. None
// of these overtakes it, whether it waits or comes when there is room for it, unless the upload
// waits for others of its own label.
func TestUploadsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const small = 128 << 10
	for name, test := range map[string]struct {
		running, waiting, coming string // labels, in capitals for large ones
		end                      int    // of those that run, the first ones
		want                     string // of those that wait and come, those that begin
	}{
		"labels that have none":                {"h i j k A B C D E F G", "L", "m", 1, ""},
		"and when there is room":               {"h i j k A B C D E F G", "L", "m", 4, "L"},
		"labels that have some":                {"h i j k A B C D E", "A", "b", 1, ""},
		"and when there is room for them":      {"h i j k A B C D E", "A", "b", 4, "A"},
		"which keep nobody from what is kept":  {"A B C D E F", "A", "i j", 0, "i j"},
		"nor does who waits for its own label": {"A A B", "A", "b i", 0, "b i"},
		"but of that label":                    {"A A B", "A", "a", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := wide
				b.Uploads = Share{All: 8 * maxUpload, Label: 2 * maxUpload}
				s := NewSet(b)
				var mu sync.Mutex
				var begun []string
				begin := func(labels string) (all []*fake) {
					for _, label := range strings.Fields(labels) {
						f := newFake(t, s, strings.ToLower(label), 0)
						length := int64(small - 1)
						if label != strings.ToLower(label) {
							length = -1
						}
						go func() {
							if f.upload(t.Context(), length) == nil {
								mu.Lock()
								defer mu.Unlock()
								begun = append(begun, label)
							}
						}()
						synctest.Wait()
						all = append(all, f)
					}
					return all
				}
				running := begin(test.running)
				mu.Lock()
				if len(begun) != len(running) {
					t.Errorf("%q run", begun)
				}
				mu.Unlock()
				begin(test.waiting)
				mu.Lock()
				begun = nil
				mu.Unlock()
				for _, f := range running[:test.end] {
					f.EndUpload()
				}
				begin(test.coming)
				mu.Lock()
				if got := strings.Join(begun, " "); got != test.want {
					t.Errorf("%q begin, want %q", got, test.want)
				}
				mu.Unlock()
				time.Sleep(uploadPatience)
			})
		})
	}
}

// TestUploadsOfNewBounds has an upload wait until the bounds are wider.
func TestUploadsOfNewBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := wide
		b.Uploads = Share{All: maxUpload, Label: maxUpload}
		s := NewSet(b)
		if refused := newFake(t, s, "a", 0).upload(t.Context(), -1); refused != nil {
			t.Fatal(refused)
		}
		refused, begun := make(chan *refuse.Refusal), time.Now()
		go func() { refused <- newFake(t, s, "b", 0).upload(t.Context(), -1) }()
		synctest.Wait()
		s.SetBounds(wide)
		if r := <-refused; r != nil || time.Since(begun) != 0 {
			t.Errorf("%v after %s", r, time.Since(begun))
		}
	})
}
