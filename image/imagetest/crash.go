package imagetest

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"

	"zimg/image/disk"
)

// Policy says what becomes of that which was not synced when the power goes.
type Policy int

// The policies. Subset and Torn differ with the seed; the others do not.
const (
	KeepNone   Policy = iota // the cache is lost
	KeepAll                  // the cache was written back just in time
	KeepNames                // names and sizes are new, contents old
	KeepData                 // contents are new, names and sizes old
	KeepSubset               // any of the writes, whatever their order
	KeepTorn                 // any of the sectors of any of the writes
)

// Policies lists them all.
var Policies = []Policy{KeepNone, KeepAll, KeepNames, KeepData, KeepSubset, KeepTorn}

func (p Policy) String() string {
	return [...]string{"keep none", "keep all", "keep names", "keep data", "keep subset", "keep torn"}[p]
}

// random reports whether the seed matters.
func (p Policy) random() bool { return p == KeepSubset || p == KeepTorn }

// same is the size of a change that does not set one.
const same = -1

// change is what a call did to a file: contents, size or both.
type change struct {
	off, end int64
	data     []byte // nil for a hole
	size     int64  // the file's new size, or same
}

// choice is how much of a change happens.
type choice struct {
	size   bool
	sector func(i int64) bool // nil for all
}

var everything = choice{size: true}

func (c change) apply(s *sparse, keep choice) {
	if c.size != same && keep.size {
		s.truncate(c.size)
	}
	end := min(c.end, s.size) // beyond the size that survived nothing does
	if keep.sector == nil {
		c.put(s, c.off, end)
		return
	}
	for at := c.off; at < end; {
		if c.data == nil { // only what is there can be punched: the range may be a TiB
			data, err := s.seekData(at)
			if err != nil {
				return
			}
			at = data
		}
		next := min(end, (at/SectorSize+1)*SectorSize)
		if at < end && keep.sector(at/SectorSize) {
			c.put(s, at, next)
		}
		at = next
	}
}

func (c change) put(s *sparse, from, to int64) {
	switch {
	case from >= to:
	case c.data == nil:
		s.punch(from, to)
	default:
		s.write(c.data[from-c.off:to-c.off], from)
	}
}

// coin says yes with one of a few probabilities, so that "nearly all" and
// "nearly none" come up as often as "half".
func coin(rng *rand.Rand) func() bool {
	eighths := []int{1, 4, 7}[rng.IntN(3)]
	return func() bool { return rng.IntN(8) < eighths }
}

// survivors is what is on the disk of a file.
func (p Policy) survivors(ino *inode, rng *rand.Rand) *sparse {
	s := ino.durable.clone()
	flip := coin(rng)
	sizes := rng.IntN(len(ino.pending) + 1)
	never := func(int64) bool { return false }
	for i, c := range ino.pending {
		var keep choice
		switch p {
		case KeepNone:
			return s
		case KeepAll:
			keep = everything
		case KeepNames:
			keep = choice{size: true, sector: never}
		case KeepData:
			keep = choice{size: false}
		case KeepSubset:
			keep.size = i < sizes
			if !flip() {
				keep.sector = never
			}
		case KeepTorn:
			keep = choice{size: i < sizes, sector: func(int64) bool { return flip() }}
		}
		c.apply(s, keep)
	}
	return s
}

// bindings is what names are on the disk.
func (p Policy) bindings(durable map[string]*inode, pending []nameChange, rng *rand.Rand) map[string]*inode {
	names := maps.Clone(durable)
	flip := coin(rng)
	stale := map[string]bool{} // names with a change that was dropped: later ones are as well
	for _, c := range pending {
		keep := p == KeepAll || p == KeepNames || p.random() && flip()
		for name := range c.set {
			keep = keep && !stale[name]
		}
		if keep {
			apply(names, c.set)
			continue
		}
		for name := range c.set {
			stale[name] = true
		}
	}
	return names
}

// AfterCrash returns what is found when the power comes back: a file system of
// its own in which everything is durable and nothing locked. The same seed
// gives the same result. m itself, crashed or not, is left as it is; nobody may be storing in its mappings.
func (m *MemFS) AfterCrash(p Policy, seed uint64) *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, uint64(p)))
	after := NewMemFS()
	names := p.bindings(m.durable, m.pending, rng)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ino := names[name]
		ino.unmapped()
		s := p.survivors(ino, rng)
		fresh := &inode{access: ino.access, now: s, durable: s.clone(), locks: map[*memFile]disk.LockMode{}}
		after.names[name], after.durable[name] = fresh, fresh
	}
	return after
}

// CrashImages yields AfterCrash for every policy, and for the random ones with
// seeds seeds each, by a name for the message of a failing test.
func (m *MemFS) CrashImages(seeds int) iter.Seq2[string, *MemFS] {
	return func(yield func(string, *MemFS) bool) {
		for _, p := range Policies {
			n := 1
			if p.random() {
				n = seeds
			}
			for seed := range n {
				if !yield(fmt.Sprintf("%v, seed %d", p, seed), m.AfterCrash(p, uint64(seed))) {
					return
				}
			}
		}
	}
}
