package store

import (
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
)

// dictionary compresses short texts that are much alike, by what they have in common with the first ones. Those stay as
// they are.
type dictionary struct {
	learnt atomic.Pointer[s2.Dict] // nil until there are enough of them
	lock   sync.Mutex
	first  []byte
}

// enough is how many bytes are learnt from: some forty objects. A dictionary can hold 64 KiB
// (https://pkg.go.dev/github.com/klauspost/compress/s2#MaxDictSize).
const enough = 16 << 10

// What compressed texts begin with.
const (
	uncompressed = 0
	compressed   = 1
)

func (d *dictionary) compress(text []byte) string {
	learnt := d.learnt.Load()
	if learnt == nil {
		d.learn(text)
		return string(append([]byte{uncompressed}, text...))
	}
	return string(append([]byte{compressed}, learnt.EncodeBetter(nil, text)...))
}

func (d *dictionary) learn(text []byte) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.learnt.Load() != nil {
		return // another goroutine has just learnt enough
	}
	if d.first = append(d.first, text...); len(d.first) >= enough {
		d.learnt.Store(s2.MakeDict(d.first[:min(len(d.first), s2.MaxDictSize)], nil))
		d.first = nil
	}
}

func (d *dictionary) decompress(text string) ([]byte, error) {
	if text[0] == uncompressed {
		return []byte(text[1:]), nil
	}
	return d.learnt.Load().Decode(nil, []byte(text[1:]))
}
