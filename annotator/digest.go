package annotator

// digest is what has been made of all objects that an index has under a key. It is kept until one of them changes, so that what
// is asked often and changes seldom is not read and summed up each time.
type digest struct {
	index, key string
	value      any
}

// mostDigests bounds how many digests are kept. Where there are more, all are made anew when they are asked for.
const mostDigests = 1024

// digestOf is what digesting the objects gives that an index has under a key.
func (s *shelf[T]) digestOf(index, key string, digesting func([]T) any) any {
	at, next := place(index, key), &digest{index: index, key: key}
	s.lock.Lock()
	if known := s.digests[at]; known != nil && known.value != nil && known.index == index && known.key == key {
		s.lock.Unlock()
		return known.value
	}
	if len(s.digests) >= mostDigests {
		clear(s.digests)
	}
	s.digests[at] = next // a change from now on removes it
	s.lock.Unlock()
	value := digesting(s.under(index, key))
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.digests[at] == next {
		next.value = value
	}
	return value
}
