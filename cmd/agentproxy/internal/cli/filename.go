package cli

import "errors"

// FileName is the value of a flag that names a file, or none for no file. It implements
// pflag.Value.
type FileName string

// String returns the name.
func (n *FileName) String() string { return string(*n) }

// Type returns what help calls the value by default.
func (n *FileName) Type() string { return "string" }

// Set sets the name, which must not be empty: a variable of a script that is not set must not
// lead to another file than the one that is meant.
func (n *FileName) Set(s string) error {
	if s == "" {
		return errors.New("the name is empty; name a file, or none for the defaults")
	}
	*n = FileName(s)
	return nil
}
