package codexhome

import (
	"encoding/binary"
	"unicode/utf16"
)

// mountPointTag is IO_REPARSE_TAG_MOUNT_POINT ([MS-FSCC], section 2.1.2.1).
const mountPointTag = 0xA0000003

// mountPoint returns the reparse data that make an empty directory of Windows a junction to
// the directory at target, an absolute path ([MS-FSCC], section 2.1.2.5). Unlike a symbolic
// link, a junction takes no right to make.
func mountPoint(target string) []byte {
	substitute, shown := utf16.Encode([]rune(`\??\`+target)), utf16.Encode([]rune(target))
	path := append(append(append(append([]uint16{}, substitute...), 0), shown...), 0)
	header := []uint16{
		uint16(8 + 2*len(path)), 0, // the length of what follows; reserved
		0, uint16(2 * len(substitute)),
		uint16(2 * (len(substitute) + 1)), uint16(2 * len(shown)),
	}
	data := binary.LittleEndian.AppendUint32(nil, mountPointTag)
	for _, word := range append(header, path...) {
		data = binary.LittleEndian.AppendUint16(data, word)
	}
	return data
}
