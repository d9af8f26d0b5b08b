package drive

import (
	"cmp"
	"slices"
	"sync"

	"zimg/image"
	"zimg/image/pi"
	"zimg/image/zns"
	"zimg/layout"
)

// A namespace is one namespace of the drive.
type namespace struct {
	*layout.Namespace
	d    *Drive
	st   NamespaceStore
	uuid [16]byte

	pi pi.Format

	// locks serialize the commands that write or reset a zone; a zone has one of them.
	// Commands on other zones run beside them, and so do reads.
	locks [zoneLocks]sync.Mutex

	mu sync.Mutex   // guards m and the zones; held for moments, never over I/O
	m  *zns.Machine // nil for a namespace without zones

	noted noted
}

// zoneLocks bounds the memory for locks, whatever the number of zones.
const zoneLocks = 512

func newNamespace(d *Drive, n *image.Namespace) (*namespace, error) {
	ns := &namespace{Namespace: n.Namespace, d: d, st: d.st.Namespace(n.ID), uuid: n.UUID, pi: pi.Of(n.Namespace)}
	if ns.uuid == [16]byte{} {
		ns.uuid = identity(d.im, n.ID)
	}
	if n.Zoned() {
		ns.m = zns.New(n.Namespace, ns.st, ns.st.Counts())
	}
	return ns, nil
}

func sortNamespaces(ns []*namespace) {
	slices.SortFunc(ns, func(a, b *namespace) int { return cmp.Compare(a.ID, b.ID) })
}

// rest does to the zones what a power-down in order does.
func (n *namespace) rest() error {
	if n.m == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m.PowerCycle()
}

// lock locks a zone for a command that writes or resets it. The caller unlocks it. A
// command locks one zone at a time.
func (n *namespace) lock(zone uint64) *sync.Mutex {
	l := &n.locks[zone%zoneLocks]
	l.Lock()
	return l
}
