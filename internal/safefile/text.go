package safefile

import "bytes"

// Text returns the content of a text file without the byte order mark that some editors
// put at its beginning.
func Text(raw []byte) []byte { return bytes.TrimPrefix(raw, []byte("\ufeff")) }
