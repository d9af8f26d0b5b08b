// Package drive is an NVMe controller (NVMe Base 2.0, NVM Command Set 1.0, Zoned
// Namespace Command Set 1.1 with ZRWA) over the namespaces of one image. It knows no
// transport: a command and its buffers come in, a completion goes out. Packages below it
// move commands over NVMe/TCP and vfio-user.
//
//	drive.go       the subsystem: namespaces, options   command.go    queue entries
//	controller.go  what one host sees                   status.go     status codes
//	registers.go   CAP, VS, CC, CSTS; reset, shutdown   admin.go      the admin queue
//	identify.go    Identify; identifyns.go: namespaces  logs.go       log pages
//	features.go    Get and Set Features                 events.go     asynchronous events
//	io.go          I/O queues: checks, dispatch         readwrite.go  blocks in and out
//	zeroes.go      Write Zeroes, deallocation           copy.go       Copy
//	zonesend.go    Zone Management Send                 zonereport.go Zone Management Receive
//	protect.go     protection information               blocks.go     what a block reads as
//	repeat.go      writes repeated after a lost answer  faults.go     errors on purpose
//	control.go     zones changed from outside           store.go      what keeps it all; live.go
//
// Every change of a zone goes through the state machine of package zns, and every
// byte through the store that keeps the image durable.
package drive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"zimg/image"
	"zimg/image/goroutine"
	"zimg/image/live"
	"zimg/layout"
)

// Options are what a user can choose about a drive. The zero value is a good drive.
type Options struct {
	// MDTS limits the data of one command to 2^MDTS pages of 4096 bytes; 0 stands for 7.
	MDTS uint8
	// ZASL limits the data of a Zone Append in the same way; 0 stands for the limit of MDTS.
	ZASL uint8
	// IOQueues is the number of I/O queues that a host can have; 0 stands for 64.
	IOQueues uint16
	// NoWriteCache makes every command durable before it completes: there is no volatile
	// write cache, and hosts send no Flush.
	NoWriteCache bool
	// Shared announces to hosts that a namespace may be used by several controllers (NMIC, CMIC).
	// Linux then puts its multipath layer on top.
	Shared bool

	Serial   string // at most 20 ASCII characters; "" derives it from the image's UUID
	Model    string // at most 40; "" is "zimg"
	Firmware string // at most 8; "" is "1"
	NQN      string // of the subsystem; "" derives it from the image's UUID
	Copy     uint8  // if not 0, namespaces have the identifiers of that copy of the image (layout.Namespace.Distinguished)
	VendorID uint16 // PCI vendor of a controller that is not one of a fabric; 0 is 1AF4h

	// Panicked, if not nil, is called with a panic in whatever works for the drive, see goroutine.Recover.
	Panicked func(v any)
}

// Defaults and bounds of the options: those of QEMU's drive.
const (
	defaultMDTS     = 7
	maxMDTS         = 9 // 2 MiB
	defaultIOQueues = 64
	pageSize        = 4096
)

// An OptionError refuses options that no drive can have.
type OptionError struct{ Text string }

func (e *OptionError) Error() string { return e.Text }

func (o *Options) complete(im *image.Image) error {
	uuid := im.Header().UUID
	if o.MDTS == 0 {
		o.MDTS = defaultMDTS
	}
	if o.IOQueues == 0 {
		o.IOQueues = defaultIOQueues
	}
	if o.Serial == "" {
		o.Serial = hex.EncodeToString(uuid[:10])
	}
	if o.Model == "" {
		o.Model = "zimg"
	}
	if o.Firmware == "" {
		o.Firmware = "1"
	}
	if o.NQN == "" {
		o.NQN = "nqn.2014-08.org.nvmexpress:uuid:" + layout.FormatUUID(uuid)
	}
	if o.VendorID == 0 {
		o.VendorID = 0x1AF4
	}
	switch {
	case o.MDTS > maxMDTS:
		return &OptionError{fmt.Sprintf("maximum data transfer size (MDTS) %d is too large: at most %d", o.MDTS, maxMDTS)}
	case o.ZASL > o.MDTS:
		text := fmt.Sprintf("zone append size limit (ZASL) %d is larger than the maximum data transfer size (MDTS) %d", o.ZASL, o.MDTS)
		return &OptionError{text}
	case len(o.NQN) > 223:
		return &OptionError{fmt.Sprintf("NQN of %d bytes is too long: at most 223", len(o.NQN))}
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"serial number", o.Serial, 20}, {"model", o.Model, 40}, {"firmware revision", o.Firmware, 8}} {
		if len(f.value) > f.most || !printable(f.value) {
			text := fmt.Sprintf("invalid %s %q: use up to %d printable ASCII characters", f.name, f.value, f.most)
			return &OptionError{text}
		}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// A Drive is the NVM subsystem of one image: its namespaces with their live zones. It is
// safe for use by many goroutines.
type Drive struct {
	im *image.Image
	st Store
	o  Options
	ns []*namespace // in order of their identifiers

	faults  Faults
	stats   statistics
	scratch scratches
	still   sync.RWMutex // commands under way, and who wants none, see Still
	cached  atomic.Bool  // there is a volatile write cache, and it is on

	mu          sync.Mutex
	controllers map[*Controller]bool
}

// New makes a drive of the image and its live zones. Neither is closed by the drive.
func New(im *image.Image, st *live.Store, o Options) (*Drive, error) {
	return NewWith(im, Live(st), o)
}

// NewWith is New with a store of another kind.
func NewWith(im *image.Image, st Store, o Options) (*Drive, error) {
	if err := o.complete(im); err != nil {
		return nil, err
	}
	d := &Drive{im: im, st: st, o: o, controllers: map[*Controller]bool{}}
	for _, n := range im.Namespaces() {
		d.ns = append(d.ns, newNamespace(d, n))
	}
	sortNamespaces(d.ns)
	d.scratch.init(d)
	d.cached.Store(!o.NoWriteCache)
	d.stats.start = time.Now()
	return d, nil
}

// NQN is the name of the subsystem.
func (d *Drive) NQN() string { return d.o.NQN }

// Options are those that the drive was made with, with every default filled in.
func (d *Drive) Options() Options { return d.o }

// Go runs fn, which works for the drive, in a goroutine of its own. A panic in it is passed to Options.Panicked.
func (d *Drive) Go(fn func()) { goroutine.Go(d.o.Panicked, fn) }

// Faults is the table of faults that the drive has on purpose.
func (d *Drive) Faults() *Faults { return &d.faults }

// MaxTransfer is the limit on the data of one command, in bytes.
func (d *Drive) MaxTransfer() int { return pageSize << d.o.MDTS }

// namespace finds the namespace id, nil if there is none.
func (d *Drive) namespace(id layout.NSID) *namespace {
	for _, n := range d.ns {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// identity is a UUID for namespace id that stays the same as long as the image does, for
// an image that gives the namespace none (RFC 9562, version 8).
func identity(im *image.Image, id layout.NSID) (u [16]byte) {
	uuid := im.Header().UUID
	sum := sha256.Sum256(le.AppendUint32(append([]byte("zimg namespace"), uuid[:]...), uint32(id)))
	copy(u[:], sum[:])
	u[6] = u[6]&0x0F | 0x80
	u[8] = u[8]&0x3F | 0x80
	return u
}

// Close brings the zones to rest, as a power-down in order does, and makes everything
// durable. All controllers are to be closed before it.
func (d *Drive) Close() error { return d.rest() }

// rest does what a power-down in order does, and makes it durable.
func (d *Drive) rest() error {
	d.still.RLock()
	defer d.still.RUnlock()
	for _, n := range d.ns {
		if err := n.rest(); err != nil {
			return err
		}
	}
	return d.st.Flush()
}
