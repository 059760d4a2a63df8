package codexhome

import (
	"encoding/hex"
	"testing"
	"unicode/utf16"
)

// TestMountPoint compares the data of a junction with the layout of [MS-FSCC], section
// 2.1.2.5, written out by hand.
func TestMountPoint(t *testing.T) {
	t.Parallel()
	const want = "030000a0" + "2400" + "0000" + // tag, length, reserved
		"0000" + "1000" + "1200" + "0800" + // the substitute name, and the one that is shown
		"5c003f003f005c0043003a005c0078000000" + "43003a005c0078000000"
	if got := hex.EncodeToString(mountPoint(`C:\x`)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Beyond the plane that a word covers.
	data := mountPoint(`C:\😀`)
	if n := len(utf16.Encode([]rune(`\??\C:\😀`))); int(data[10])|int(data[11])<<8 != 2*n {
		t.Errorf("%x", data)
	}
}
