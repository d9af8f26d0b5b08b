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
	d  *Drive
	st NamespaceStore

	pi pi.Format

	mu    sync.Mutex // guards what follows; held for moments, never over data
	zones zoneStore
	m     *zns.Machine // of a namespace with zones; made anew when they come to rest
}

func newNamespace(d *Drive, n *image.Namespace) *namespace {
	seen := *n.Namespace // by hosts, which want a UUID
	if seen.UUID == [16]byte{} {
		seen.UUID = identity(d.im, n.ID)
	}
	ns := &namespace{Namespace: seen.Distinguished(d.o.Copy), d: d, st: d.st.Namespace(n.ID), pi: pi.Of(n.Namespace)}
	if n.Zoned() {
		ns.zones.NamespaceStore = ns.st
		ns.m = zns.New(n.Namespace, &ns.zones, ns.st.Counts())
	}
	return ns
}

func sortNamespaces(ns []*namespace) {
	slices.SortFunc(ns, func(a, b *namespace) int { return cmp.Compare(a.ID, b.ID) })
}

// rest does to the zones what a power-down does, to those as well that were opened before
// this process began. It looks at all of them, and only if some are active.
func (n *namespace) rest() error {
	if !n.Zoned() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m.Counts().Active() == 0 {
		return nil
	}
	i := uint64(0)
	for z, err := range n.st.All(0, n.ZoneCount) {
		if err != nil {
			return err
		}
		if after := zns.AtRest(n.Namespace, z); after != z {
			if err := n.st.SetZone(i, after); err != nil {
				return err
			}
		}
		i++
	}
	n.m = zns.New(n.Namespace, &n.zones, n.st.Counts())
	return nil
}
