package certs

// For the tests in package certs_test.

const MaxLeaves = maxLeaves

func (a *Authority) CachedLeaves() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}

var (
	SystemRootsFrom  = systemRoots
	ParseCertificate = parseCertificate
	ParseIssuer      = parseIssuer
	FilesHold        = filesHold
)

// ParseRoots are the roots in a file with that content.
func ParseRoots(data []byte) Roots {
	var r Roots
	r.add(data)
	return r
}
