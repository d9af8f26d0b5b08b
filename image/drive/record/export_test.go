package record

// Entries is how many entries of a log there have been.
func (s *Store) Entries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}
