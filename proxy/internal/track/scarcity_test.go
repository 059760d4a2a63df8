package track

import (
	"testing"
	"time"
)

func TestScarcity(t *testing.T) {
	t.Parallel()
	var d Scarcity
	now := time.Now()
	if d.Scarce(now) || !d.Note(now) || d.Note(now.Add(time.Second)) || !d.Note(now.Add(2*scarceWarnInterval)) {
		t.Error("warned wrongly")
	}
	now = now.Add(2 * scarceWarnInterval)
	if !d.Scarce(now.Add(scarceFor-1)) || d.Scarce(now.Add(scarceFor)) {
		t.Error("scarce for another time")
	}
}
