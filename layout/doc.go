// Package layout is the on-disk format of zimg images: bytes in, structs out,
// and back. It does no I/O and knows no operating system. docs/FORMAT.md is its
// contract; where the two differ, that is a bug in one of them.
//
// From the bottom up: zone.go and wp.go (one zone), namespace.go (one entry of
// the namespace table), header.go and slot.go (one whole copy of the metadata),
// locator.go (where the copies are), plan.go (from a geometry to the place of
// every region). metadata.go has the model that every format decodes to.
package layout
