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
	ParseKey         = parseKey
	FilesHold        = filesHold
)
