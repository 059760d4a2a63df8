package chatgpttest

// Usage is what a response says that it used.
type Usage struct {
	Model                 string
	Input, Cached, Output int // tokens
}

// SetUsage has f say what the n-th response from now on, counted from 0, uses. An
// empty model stands for the one that was asked. By default a response uses a token of
// input and one of output for each item of its output.
func (s *Server) SetUsage(f func(n int) Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.usage, s.state.used = f, nil
}

// Used returns what the responses, since [Server.SetUsage] if it was called, said that they used, in the
// order in which they were made.
func (s *Server) Used() []Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Usage(nil), s.state.used...)
}

// use returns what a response of a model with so many items of output uses.
func (s *Server) use(model string, items int) Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := Usage{Input: items, Output: items}
	if s.state.usage != nil && items > 0 {
		used = s.state.usage(len(s.state.used))
	}
	if used.Model == "" {
		used.Model = model
	}
	if items > 0 { // or the connection was warmed up, and no more
		s.state.used = append(s.state.used, used)
	}
	return used
}
