package track

import "testing"

// TestLimiter counts each name by itself and forgets those of which nothing is
// in use.
func TestLimiter(t *testing.T) {
	t.Parallel()
	var l Limiter
	first, second := l.Take("a", 2), l.Take("a", 2)
	if first == nil || second == nil || l.Take("a", 2) != nil {
		t.Fatal("the limit of a is not two")
	}
	other := l.Take("b", 1)
	if other == nil || l.InUse() != 3 {
		t.Fatalf("%d are in use", l.InUse())
	}
	first()
	first()
	if again := l.Take("a", 2); again == nil {
		t.Error("a place that was given back is not free")
	} else if l.Take("a", 2) != nil {
		t.Error("one place was given back twice")
	} else {
		again()
	}
	second()
	other()
	if l.InUse() != 0 || len(l.taken) != 0 {
		t.Errorf("%d are in use, and %d names are remembered", l.InUse(), len(l.taken))
	}
}
