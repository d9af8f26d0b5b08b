// Package live keeps the zones of an image that is being served as a drive: exact at every moment if the process dies,
// and as of the last Flush or later if the power fails.
//
//	live.go     opening and closing            format.go   the live file and its header
//	zones.go    the zones of a namespace       record.go   one zone's record
//	data.go     reading, writing, discarding   flush.go    commits, and what waits for them
//	recover.go  after a death                  repeat.go   writes whose answers were lost
//
// # Where the truth is
//
// The live file, NAME.zlive beside the metadata file NAME, is mapped into memory and has a record for each zone. A
// zone that was set is in its record when SetZone returns. The slots of the image (docs/FORMAT.md) have the zones
// as of the last commit, and are marked as in use by a drive that is served.
//
//	            process dies                          power fails
//	zones       the records                           the slots
//	data        the page cache, so all of it          what was synced, and perhaps more
//	known by    boot id as now, session as in slots   another boot id
//
// # Assumptions
//
//  1. While the boot id stays the same the page cache is intact: what was stored in a shared mapping or written to a
//     file is there for the next process. The exception is a file system whose device was taken away while it was
//     mounted; that is a power failure that looks like a dead process, and it is not handled.
//  2. Aligned 8-byte stores are done whole, and those of one goroutine are visible in the order of their atomic
//     operations, also when the process is killed between two of them.
//  3. Of the disk: what package imagetest lists. What was synced is there; what was written since may be there, or not,
//     or in part, in any order. The same is true of stores in a mapping.
//  4. A sync that failed may have lost what it should have written, and the next one does not say so.
//  5. The caller has the zone's lock (Lock) from before it writes data until the zone is set. Nobody else changes
//     the image: its files are locked.
//
// # Why no death loses anything
//
// Data is written before the record says so: a write pointer is never ahead of the data in the page cache. A
// record has two halves; the older is overwritten, and its checksum and sequence number, stored last, make it the
// newer one. So a kill leaves the zone before or after the command. Before data is written past Written, the
// record's Reach says how far it may go, so what a write that was killed left beyond Written is known, and
// discarded before it can be read.
//
// # Why no power failure breaks anything
//
// A commit takes a snapshot of all zones, then syncs the data, then commits the snapshot (image.Commit): so a
// committed write pointer is never ahead of durable data, and everything that was answered before the Flush is in
// the snapshot.
//
// What the slots call written must stay as it is until they call it otherwise. A reset therefore touches no data: the
// zone reads as zeroes because reads end at Written. Before the first write into it, or at the next Flush, its Empty
// state is committed, and only then the old data is discarded. Committing Empty alone is allowed: the zone was in that
// state, it needs no data, and it takes no resources. What a commit under way is about to call written counts like
// what the slots call written, from the snapshot on.
//
// After a power failure the live file is ignored, since its sectors may be of any age, and all that is beyond the
// committed Written is discarded. Its boot id is compared, and so is the session: a live file of another session,
// or one that was copied with its image (Identity), is never believed.
//
// After a sync that failed the Store refuses everything and the live file says "lost": the next process
// does as after a power failure, since the page cache no longer has what the disk has not.
package live

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/zns"
	"zimg/layout"
)

// Options for Open and Recover.
type Options struct {
	// BootID is the identity of this boot of the computer; zero: disk.BootID. Tests set it.
	BootID [16]byte
	// LoseUnflushed goes on from the last commit where the live file is gone though the computer was not restarted.
	LoseUnflushed bool
}

func (o Options) bootID() [16]byte {
	if o.BootID != [16]byte{} {
		return o.BootID
	}
	return disk.BootID()
}

// Store has the zones and the data of one image while it is served. It is safe for use by many goroutines; see
// Namespace.Lock for what they must keep apart.
type Store struct {
	im       *image.Image
	file     disk.File
	m        *disk.Mapping
	path     string // of the live file
	session  layout.Session
	recovery Recovery
	ns       []*Namespace

	mu     sync.Mutex      // records, counts, dirty and stale
	failed error           // of the sync that lost data
	live   map[uint32]bool // connections, by number

	scratch scratch // needs mu

	wrote atomic.Bool // data was changed since the last sync began

	committing sync.Mutex // whoever commits; im's zones
	group      sync.Mutex // next
	next       *round
	snapshot   []snapped
}

// Recovery is what Open or Recover found the image to be.
type Recovery struct {
	Source Source
	Reason string // why the records are not the truth, where they are not
	Zones  uint64 // zones that differ from the last commit, if the records are the truth
}

// Source says where the zones come from.
type Source int

// The sources.
const (
	// Clean is an image that nobody left half-way.
	Clean Source = iota
	// Records are those of a process that died: nothing is lost.
	Records
	// Commits are the slots of an image whose records mean nothing: what was not flushed is lost.
	Commits
)

// ErrNoRecords is wrapped by the error of an image whose live file is gone though the computer was not restarted: what
// was not flushed would be lost.
var ErrNoRecords = errors.New("the zones since the last flush are missing")

// Open begins to serve im, which is open for writing (image.OpenUnclean) and locked. What an owner that died left is
// taken up: zones stay as they were answered if the process died. After a power failure, and where the image was left
// in order, they are as after a power cycle (zns.AtRest). The caller closes im after the Store.
func Open(im *image.Image, o Options) (_ *Store, err error) {
	s := &Store{im: im, path: fileName(im), live: map[uint32]bool{}}
	defer func() {
		if err != nil {
			s.unmap()
		}
	}()
	base := uint64(0)
	for _, n := range im.Namespaces() {
		s.ns = append(s.ns, newNamespace(s, n, base))
		base += n.ZoneCount
	}
	if err := im.CheckZones(); err != nil {
		return nil, err
	}
	found, err := inspect(im, o, disk.ReadWrite)
	if err != nil {
		return nil, err
	}
	s.recovery = found.Recovery
	if found.Source == Records {
		s.file = found.file
		p := placesOf(im)
		s.place(p)
		if s.m, err = disk.Map(s.file, p.mapped); err != nil {
			return nil, err
		}
		s.session = im.Header().Session
		s.session.PID = uint32(os.Getpid())
		err := s.resume()
		if err == nil || !errors.Is(err, layout.ErrDamaged) {
			return s, err
		}
		if !o.LoseUnflushed {
			return s, im.NeedsRepair(fmt.Errorf("%s: %w", s.path, err))
		}
		s.unmap()
		s.reset()
		s.recovery = Recovery{Source: Commits, Reason: err.Error()}
	}
	if s.recovery.Source == Commits {
		if err := discardBeyond(im); err != nil {
			return nil, err
		}
	}
	s.session = layout.Session{
		ID: image.NewUUID(), BootID: o.bootID(), PID: uint32(os.Getpid()), Start: time.Now().UTC(), Kind: layout.Served,
	}
	return s, s.begin()
}

// reset forgets what resume has made of zones.
func (s *Store) reset() {
	for k, n := range s.ns {
		s.ns[k] = newNamespace(s, n.img, n.base)
	}
}

// begin makes a new live file, and then the commit that makes it count.
func (s *Store) begin() error {
	if err := s.createFile(); err != nil {
		return err
	}
	for _, n := range s.ns {
		if err := n.load(); err != nil {
			return err
		}
	}
	return s.im.BeginSession(s.session)
}

// load fills the records of a new live file; one that is all zero is an Empty zone.
func (n *Namespace) load() error {
	i := uint64(0)
	for z, err := range n.img.All(0, n.ZoneCount) {
		if err != nil {
			return err
		}
		rest := zns.AtRest(n.Namespace, z)
		if rest != z {
			if err := n.img.SetZone(i, rest); err != nil {
				return err
			}
		}
		if rest != n.EmptyZone(i) {
			r := n.record(i)
			r.start(rest)
			sel := uint8(0)
			if rest.Attrs&layout.ZDEV != 0 {
				sel = 1
				ext, err := n.img.Extension(i)
				if err != nil {
					return err
				}
				if err := n.writeExt(i, sel, ext); err != nil {
					return err
				}
			}
			r.put(&n.s.scratch, n.base+i, rest, sel)
			if err := n.wrote(i); err != nil {
				return err
			}
		}
		n.counts[max(0, rest.State.Index())]++
		i++
	}
	return nil
}

// resume goes on where a process that died ended.
func (s *Store) resume() error {
	for _, n := range s.ns {
		i := uint64(0)
		for z, err := range n.img.All(0, n.ZoneCount) {
			if err != nil {
				return err
			}
			now, _, err := decode(n.record(i), &s.scratch, n.base+i, n.Namespace, i)
			if err != nil {
				return err
			}
			if r := n.record(i); r.set() {
				r.store(wordCommitted, uint64(z.Written))
			}
			if n.record(i).load(wordReach) > uint64(now.Written) {
				n.torn.set(i)
			}
			if now != z {
				n.dirty.set(i)
				s.recovery.Zones++
			}
			if now.Written < z.Written {
				n.stale.set(i)
			}
			n.counts[max(0, now.State.Index())]++
			i++
		}
	}
	s.wrote.Store(true) // what was synced is not known
	return s.im.BeginSession(s.session)
}

// Recovery says what Open found.
func (s *Store) Recovery() Recovery { return s.recovery }

// Image is the image that is served. Its zones are those of the last commit.
func (s *Store) Image() *image.Image { return s.im }

// Namespace returns the namespace with the given id, or nil.
func (s *Store) Namespace(id layout.NSID) *Namespace {
	for _, n := range s.ns {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Close ends the session in order: zones go through a power cycle (zns.AtRest), everything is committed, the image is
// marked clean and the live file removed. No command may be under way. After an error the image stays in use, and
// the next Open, or Recover, goes on from there.
func (s *Store) Close() error {
	defer s.unmap()
	for _, n := range s.ns {
		if err := n.rest(); err != nil {
			return err
		}
	}
	if err := s.Flush(); err != nil {
		return err
	}
	if err := s.discardAll(); err != nil {
		return err
	}
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := s.im.SyncData(); err != nil {
		return s.fail(err)
	}
	if err := s.im.EndSession(); err != nil {
		return err
	}
	s.unmap()
	if err := s.im.Files().FS.Remove(s.path); err != nil {
		return fmt.Errorf("removing the live file: %w", err)
	}
	return nil
}

// Abandon drops the Store and leaves the image as the death of the process would: in use, with the live file
// beside it. No command may be under way.
func (s *Store) Abandon() { s.unmap() }

func (s *Store) unmap() {
	if s.m != nil {
		_ = s.m.Close() // unmapping changes nothing in the file
		s.m = nil
	}
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// rest puts all zones of n at rest.
func (n *Namespace) rest() error {
	for i := range n.ZoneCount {
		if !n.record(i).set() {
			continue
		}
		z, err := n.Zone(i)
		if err != nil {
			return err
		}
		if err := n.SetZone(i, zns.AtRest(n.Namespace, z)); err != nil {
			return err
		}
	}
	return nil
}
