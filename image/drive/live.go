package drive

import (
	"zimg/image/live"
	"zimg/layout"
)

// liveStore is a live.Store as a Store.
type liveStore struct{ *live.Store }

// Live is a live.Store as a Store.
func Live(st *live.Store) Store { return liveStore{st} }

// Persist is Flush: one commit makes everything durable.
func (s liveStore) Persist(layout.NSID, layout.LBA) error { return s.Flush() }

// Namespace returns a namespace of the image.
func (s liveStore) Namespace(id layout.NSID) NamespaceStore {
	return liveNamespace{s.Store.Namespace(id)}
}

// liveNamespace is a live.Namespace as a NamespaceStore.
type liveNamespace struct{ *live.Namespace }

// SetWritten is SetZone after a write that the host may have to repeat.
func (n liveNamespace) SetWritten(i uint64, z layout.Zone, w NotedWrite) error {
	return n.Namespace.SetWritten(i, z, live.Write(w))
}

// Repeatable reports whether w was noted of zone i and may be repeated.
func (n liveNamespace) Repeatable(i uint64, w NotedWrite) bool {
	return n.Namespace.Repeatable(i, live.Write(w))
}
