package drive

import (
	"cmp"
	"slices"
	"sync"

	"zimg/image"
	"zimg/image/zns"
	"zimg/layout"
)

// A namespace is one namespace of the drive.
type namespace struct {
	*layout.Namespace
	d    *Drive
	st   NamespaceStore
	uuid [16]byte

	mu sync.Mutex // guards m; held for moments, never over I/O
	m  *zns.Machine
}

func newNamespace(d *Drive, n *image.Namespace) (*namespace, error) {
	ns := &namespace{Namespace: n.Namespace, d: d, st: d.st.Namespace(n.ID), uuid: n.UUID}
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
