package safefile

// Claim keeps other programs from opening a file, which cannot be done here.
type Claim struct{}

// TakeClaim returns nil: there is no claim to be had.
func TakeClaim(path string) *Claim { return nil }

// Wanted reports false.
func (*Claim) Wanted() bool { return false }

// Read returns [ErrChanged].
func (*Claim) Read(int64) ([]byte, error) { return nil, ErrChanged }

// Replace returns [ErrChanged].
func (*Claim) Replace([]byte) error { return ErrChanged }

// Overwrite returns [ErrChanged].
func (*Claim) Overwrite([]byte) error { return ErrChanged }

// Release does nothing.
func (*Claim) Release() {}
