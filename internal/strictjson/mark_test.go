package strictjson

import "testing"

// TestByteOrderMark reads and edits JSON that an editor has put one before.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	raw := []byte("\ufeff{\"a\": \"b\"}")
	var d Decoder
	if got := d.Document("file", raw).Text("a"); got != "b" || d.Err != nil {
		t.Errorf("%q, %v", got, d.Err)
	}
	if edit, err := ParseEdit(raw); err != nil || len(edit) != 1 {
		t.Errorf("%v, %v", edit, err)
	}
}
