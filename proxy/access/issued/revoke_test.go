package issued

import (
	"fmt"
	"testing"
	"time"
)

// TestRevocations compares the index of a list with a look through all of it.
func TestRevocations(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_800_000_000, 0)
	var l list
	for i := range 300 {
		e := entry{Until: base.Add(time.Hour)}
		if i%3 == 0 {
			e.ID = fmt.Sprint("ID", i)
		} else {
			e.Label, e.Before = fmt.Sprint("label", i%40), base.Add(time.Duration(i*7919%600)*time.Second)
		}
		l = append(l, e)
	}
	through := func(token *Token) bool {
		for _, e := range l {
			if e.ID != "" && e.ID == token.ID || e.Label != "" && e.Label == token.Label && !token.Issued.After(e.Before) {
				return true
			}
		}
		return false
	}
	index, revoked := l.index(), 0
	for i := range 320 {
		for _, offset := range []time.Duration{-time.Second, 0, 100 * time.Second, 599 * time.Second, time.Hour} {
			token := &Token{ID: fmt.Sprint("ID", i), Label: fmt.Sprint("label", i%50), Issued: base.Add(offset)}
			if got, want := index.has(token), through(token); got != want {
				t.Fatalf("%+v: %t, want %t", token, got, want)
			} else if got {
				revoked++
			}
		}
	}
	if revoked == 0 || revoked == 320*5 {
		t.Errorf("%d were revoked", revoked)
	}
	if index.has(&Token{}) || list(nil).index().has(&Token{ID: "x", Label: "y"}) {
		t.Error("an empty id or label was revoked")
	}
}

// BenchmarkGood asks for a token beside a full list.
func BenchmarkGood(b *testing.B) {
	l := make(list, maxRevoked)
	for i := range l {
		l[i] = entry{ID: fmt.Sprint(i)}
	}
	index, token := l.index(), &Token{ID: "x", Label: "y", Issued: time.Unix(1, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if index.has(token) {
			b.Fatal("revoked")
		}
	}
}
